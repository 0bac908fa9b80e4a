"""A FastCGI application on descriptor 0 that keeps its connection, for the test of the order of things at the end.

On TERM it writes to the file that it is given whether that connection had ended before, "closed", or not, "open", and
ends.
"""

import os
import select
import signal
import socket
import sys

import fcgi


class Keeper:
    def __init__(self, path):
        self.path = path
        self.connection = None

    def on_term(self, *_):
        poll = select.poll()
        if self.connection:
            poll.register(self.connection, select.POLLRDHUP)
        with open(self.path, "w") as file:
            file.write("open" if self.connection and not poll.poll(0) else "closed")
        os._exit(0)

    def run(self):
        signal.signal(signal.SIGTERM, self.on_term)
        listener = socket.socket(fileno=0)
        while True:
            self.connection = listener.accept()[0]
            while self.connection.recv(65536):  # a small request comes in one piece
                self.connection.sendall(fcgi.answer(b"kept"))
            ended, self.connection = self.connection, None  # TERM may come between any two statements
            ended.close()


if __name__ == "__main__":
    Keeper(sys.argv[1]).run()
