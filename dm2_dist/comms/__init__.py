"""Messages, their codec, the sockets that carry them and the books that account for them."""
