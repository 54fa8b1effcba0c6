"""Where the corpus and the predictions are kept between runs."""
