"""What a commit changes."""

VERSION = "1"
FAIL_ONE_IN = 0  # a planted bug: the storefront fails one request in this many; 0 means it does not
