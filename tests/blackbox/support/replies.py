"""Replies where the contract leaves the enhanced code open: those that RFC
3463 and RFC 5248 have for it."""

SYNTAX = r"501 5\.5\.[24]"
BAD_SENDER = r"501 5\.(1\.7|5\.[24])"
BAD_RECIPIENT = r"501 5\.(1\.3|5\.[24])"
QUEUED = r"250 2\.[06]\.0"
TROUBLE = r"451 4\.4\.\d"     # with the next hop
