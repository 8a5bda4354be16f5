"""Keeps the MultiPlus inverters of one GX device under a power limit."""
