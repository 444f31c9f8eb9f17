"""Scrapes targets that expose metrics as text, as Prometheus does.

It decides which targets there are (discovery, relabelling), when each is due, and what of a failed scrape is
stale. It reads declared ``ScrapeConfig``s and ``Replica``s from the store. It writes samples to the metrics
store, and nothing else. No target can hold it up: every scrape has an end in time and in bytes. Start at
``scraper.Scraper``.
"""
