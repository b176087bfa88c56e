"""Scores of networks that are not trained at all; each file has those of one idea."""
