"""Harvest reading lists, feeds and articles from Medium's hosts: a Scrapy project."""
