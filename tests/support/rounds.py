"""Requests of several clients that reach the shim in one round of its events, and answers that do.

    gate = Gate()
    with Responder(gate) as app, Shim(...) as shim:
        responses = exchange(shim, gate, clients, bodies)
"""

import threading

from fcgi import PATIENCE, Closed, Response, request
from relay import POST


class Gate:
    """A script: answers with the request's body, all that wait at a time when release() is called; or who has waited
    for longer than patience."""

    def __init__(self, patience=PATIENCE):
        self.patience = patience
        self.changed = threading.Condition()
        self.held = self.turn = 0

    def __call__(self, connection):
        while connection.read_request():
            with self.changed:
                turn = self.turn
                self.held += 1
                self.changed.notify_all()
                self.changed.wait_for(lambda: self.turn > turn, self.patience)
            try:
                connection.reply(bytes(connection.current.stdin))
            finally:
                with self.changed:
                    self.held -= 1
                    self.changed.notify_all()
            if not connection.current.keep:
                return

    def wait(self, count):
        """Until so many wait; False if they do not come."""
        with self.changed:
            return self.changed.wait_for(lambda: self.held >= count, self.patience)

    def release(self):
        """Returns once all that waited have answered."""
        with self.changed:
            self.turn += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.held == 0, self.patience)


def exchange(shim, gate, clients, bodies, keep=True, timeout=PATIENCE):
    """Each client sends its body, and what it gets is returned; a response without an end where its connection was
    closed."""
    shim.freeze()
    try:
        for client, body in zip(clients, bodies):
            try:
                client.send(request(POST, body, keep=keep))
            except (Closed, ConnectionError):
                pass  # the answer tells
    finally:
        shim.thaw()
    gate.wait(len(clients))
    shim.freeze()
    try:
        gate.release()
    finally:
        shim.thaw()
    return [_read(client, timeout) for client in clients]


def _read(client, timeout):
    try:
        return client.read_response(timeout=timeout)
    except (Closed, ConnectionError):
        return Response()
