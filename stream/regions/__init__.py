"""Regions that clips are cut from: the whole frame or a zone, each with its frame ring."""
