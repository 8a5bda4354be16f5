export LC_CTYPE=en_US.utf8
