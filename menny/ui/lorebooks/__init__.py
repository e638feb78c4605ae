"""Lorebooks in the page: the list of all there are, a book with its entries, the editor of one, and a trial of keys."""
