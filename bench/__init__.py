"""Measures the product on the machine at hand; run by `manage.py bench`."""
