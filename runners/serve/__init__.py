"""The server of `archsweep serve`: who may ask, what is asked for, and the socket. Its pages: results/live."""
