"""Menny's pictures, drawn: a palette, a head, and what each of the family wears."""
