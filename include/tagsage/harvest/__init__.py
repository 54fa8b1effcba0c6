"""Lists, articles and feeds fetched from Medium's hosts: politely, resumably, opt-in."""
