"""The commands of ``nas``, one function each; ``nas/cli.py`` puts them together."""
