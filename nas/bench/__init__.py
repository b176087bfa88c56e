"""Strategies on published tables: which one finds better networks with fewer queries.

``table`` reads a table, ``benchmark`` puts limits on it and says what a query tells,
``contestants`` finds strategies and baselines, ``runner`` drives one, ``comparison`` all of them
with the statistics, ``report`` shows what was found.
"""
