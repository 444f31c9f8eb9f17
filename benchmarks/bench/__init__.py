"""What every benchmark shares: a real house on free ports, load beside it, and one shape of report.

Decides nothing about the product and reads only what a user or the machine's administrator can read.
Never imported by the product.
"""
