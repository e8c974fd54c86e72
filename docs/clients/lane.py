"""A till in 60 lines: quote, pay, record. Python 3 without packages. Usage: lane.py SOCKET|HOST:PORT LANE CODE [QUANTITY]

For HOST:PORT the files of `shelfd lane add LANE` lie in the working directory: authority.crt, LANE.crt, LANE.key.
"""

import json
import socket
import ssl
import sys
import time


class Refused(Exception):
    """The daemon's answer is an error: its argument has code, cashier and retryable (docs/reference/lane.md)."""


class Lane:
    def __init__(self, address, lane):
        self.address, self.lane, self.lines, self.last_id = address, lane, None, 0

    def connect(self):
        if "/" in self.address:
            link = socket.socket(socket.AF_UNIX)
            link.settimeout(2)  # a till waits for two seconds, then opens a new connection
            link.connect(self.address)
        else:
            host, port = self.address.rsplit(":", 1)
            tls = ssl.create_default_context(cafile="authority.crt")
            tls.load_cert_chain(f"{self.lane}.crt", f"{self.lane}.key")
            link = tls.wrap_socket(socket.create_connection((host, port), 2), server_hostname=host)
        self.lines = link.makefile("rw", encoding="utf-8", newline="\n")
        self.ask("hello", lane=self.lane, client="lane.py")

    def ask(self, method, **params):
        """One call on this connection. Raises Refused, or OSError when nothing came back."""
        self.last_id += 1
        self.lines.write(json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}) + "\n")
        self.lines.flush()
        while line := self.lines.readline():
            answer = json.loads(line)
            if answer.get("id") == self.last_id:  # what has no id is a notification
                if "error" in answer:
                    raise Refused(answer["error"]["data"])
                return answer["result"]
        raise ConnectionError("closed before the answer")

    def call(self, method, patience_s=60, **params):
        """Ask until there is an answer: every call may be repeated, because it carries its own id."""
        pause, end = 0.5, time.monotonic() + patience_s
        while True:
            try:
                if self.lines is None:
                    self.connect()
                return self.ask(method, **params)
            except Refused as error:
                if not error.args[0]["retryable"] or time.monotonic() > end:
                    raise
            except OSError:
                self.lines = None
                if time.monotonic() > end:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 10)


if __name__ == "__main__":
    till, code, quantity = Lane(sys.argv[1], sys.argv[2]), sys.argv[3], int((sys.argv[4:] or ["1"])[0])
    basket = f"{till.lane}:{time.time_ns()}"
    quote = till.call("basket.quote", basket_id=basket, lines=[{"line_id": "1", "code": code, "quantity": quantity}])
    sale = {"sale_id": basket, "quote_id": quote["quote_id"], "tenders": [{"type": "cash", "amount_minor": quote["total_minor"]}]}
    # A real till writes `sale` to its disk here, before it sends it: after a power cut it sends the very same again.
    done = till.call("sale.commit", **sale)
    print(json.dumps({"total_minor": quote["total_minor"], "sale_id": done["sale_id"], "recorded": done["recorded"]}))
