"""A small ticket shop: people search for shows, look at them and buy."""
