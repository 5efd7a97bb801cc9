"""Passes: what turns an imported graph into the one that code is generated for, one rewrite a file."""
