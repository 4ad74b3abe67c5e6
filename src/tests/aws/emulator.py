"""moto as AWS for tests: started on a free loopback port, which it prints; ends with its standard input.

What moto does otherwise than AWS, as far as bellows leans on it, is put right here (named beside each part). What tests
ask for beside it: a clock of their own, and calls that fail. Both belong to a place, which is the first segment of the
endpoint's path (`http://127.0.0.1:PORT/<place>`): tests that run at once do not disturb each other. Instructions come
as `POST /<place>/bellows` with a JSON object.
"""

import collections
import contextlib
import copy
import datetime
import io
import json
import logging
import os
import re
import socket
import sys
import threading
import time
import urllib.parse

os.environ.update(MOTO_EC2_LOAD_DEFAULT_AMIS="false", MOTO_IAM_LOAD_MANAGED_POLICIES="true")

import moto.core.utils
import moto.s3.models
import moto.s3.notifications
import moto.sqs.models
from moto.core.exceptions import ServiceException
from moto.ec2.responses.instances import InstanceResponse
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sqs.exceptions import SQSException
from moto.sqs.models import Message, SQSBackend
from werkzeug.serving import WSGIRequestHandler, make_server

import gaps


class Place:
    """One test's view: its clock (ms, or none: the system's), the faults it ordered, what its fleet has room for."""

    def __init__(self):
        self.clock = None
        self.faults = []
        # by "type/subnet/market": how many more instances there is room for; what is not named has no bound
        self.room = {}
        self.calls = collections.Counter()


places = collections.defaultdict(Place)
here = threading.local()
lock = threading.RLock()


def utcnow():
    place = getattr(here, "place", None)
    if place is None or place.clock is None:
        return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return datetime.datetime.fromtimestamp(place.clock / 1000, datetime.timezone.utc).replace(tzinfo=None)


def unix_time(at=None):
    at = at or utcnow()
    return (at.replace(tzinfo=None) - datetime.datetime(1970, 1, 1)).total_seconds()


def unix_time_millis(at=None):
    return round(unix_time(at) * 1000, 3)


for module in (moto.core.utils, moto.s3.models, moto.sqs.models):
    for clock in (utcnow, unix_time, unix_time_millis):
        if hasattr(module, clock.__name__):
            setattr(module, clock.__name__, clock)


# SQS: a lease ends at its end, not a millisecond later
Message.visible = property(lambda self: unix_time_millis() >= self.visible_at)


class MessageNotInflight(SQSException):
    def __init__(self):
        super().__init__("MessageNotInflight", "The specified message isn't in flight.")


def change_visibility(self, queue_name, receipt_handle, visibility_timeout):
    """SQS: only the newest receipt of a message that is in flight can change its lease."""
    with lock:
        for message in self.get_queue(queue_name)._messages:
            if message.had_receipt_handle(receipt_handle) and (
                message.receipt_handle != receipt_handle or message.visible
            ):
                raise MessageNotInflight()
        return original_change(self, queue_name, receipt_handle, visibility_timeout)


def receive(self, queue_name, count, wait_seconds_timeout, visibility_timeout, message_attribute_names=None):
    """SQS: two receivers get different messages, and a wait is measured in real time."""
    until = time.monotonic() + wait_seconds_timeout
    while True:
        with lock:
            got = original_receive(self, queue_name, count, 0, visibility_timeout, message_attribute_names)
        if got or time.monotonic() >= until:
            return got
        time.sleep(0.02)


original_change, original_receive = SQSBackend.change_message_visibility, SQSBackend.receive_message
SQSBackend.change_message_visibility, SQSBackend.receive_message = change_visibility, receive
original_change_batch = SQSBackend.change_message_visibility_batch


def change_batch(self, queue_name, entries):
    success, errors = [], []
    for entry in entries:
        try:
            done, failed = original_change_batch(self, queue_name, [entry])
        except MessageNotInflight:
            done, failed = [], [{"Id": entry["Id"], "SenderFault": True, "Code": "MessageNotInflight", "Message": ""}]
        success.extend(done)
        errors.extend(failed)
    return success, errors


SQSBackend.change_message_visibility_batch = change_batch


def get_queue(self, name):
    """SQS: a message past its retention is gone, and counted nowhere."""
    queue = original_get_queue(self, name)
    now, kept = unix_time_millis(), int(queue.message_retention_period) * 1000
    with lock:
        queue._messages = [message for message in queue._messages if now - message.sent_timestamp <= kept]
    return queue


original_get_queue = SQSBackend.get_queue
SQSBackend.get_queue = get_queue
original_event = moto.s3.notifications._get_s3_event


def s3_event(*arguments):
    """S3: an event of a write carries a sequencer that no other write of its key has."""
    event = original_event(*arguments)
    for record in event["Records"]:
        record["s3"]["object"]["sequencer"] = f"{time.time_ns():016X}"
    return event


moto.s3.notifications._get_s3_event = s3_event


class Refused(ServiceException):
    pass


launches = {}


def run_instances(self):
    """EC2: a client token launches once; MaxCount counts; a type, subnet and market may be full."""
    with lock:
        get = lambda name, default="": self._get_param(name) or default
        asked = {name: str(get(name)) for name in ("InstanceType", "SubnetId", "MaxCount", "LaunchTemplate")}
        asked["tags"] = str(self._parse_tag_specification())
        asked["market"] = "spot" if get("InstanceMarketOptions", {}) else "on-demand"
        token = get("ClientToken")
        if token in launches:
            known, answer = launches[token]
            if known != asked:
                raise Refused("IdempotentParameterMismatch", "The client token was used with other parameters.")
            return answer
        room = here.place.room
        key = "/".join((asked["InstanceType"], asked["SubnetId"], asked["market"]))
        count = min(int(get("MaxCount", 1)), room.get(key, 1000))
        if count < int(get("MinCount", 1)):
            raise Refused("InsufficientInstanceCapacity", "There is no capacity for your request.")
        if key in room:
            room[key] -= count
        self.params["MinCount"] = count
        answer = original_run(self)
        if token:
            launches[token] = (asked, answer)
        return answer


original_run = InstanceResponse.run_instances
InstanceResponse.run_instances = run_instances


def operation(environ, body):
    """What a call is named after: `SendMessageBatch`, `RunInstances`, `PUT`."""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return target.rsplit(".", 1)[1]
    action = re.search(rb"(?:^|&)Action=(\w+)", body[:2000])
    return action.group(1).decode() if action else environ["REQUEST_METHOD"]


def json_of(app, environ, body):
    """Calls the application with another body: its answer as a JSON object."""
    environ = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    return json.loads(b"".join(app(environ, lambda *_: None)) or b"{}")


class Application:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        _, name, rest = (environ["PATH_INFO"] + "//").split("/", 2)
        # a path without a place is the emulator's own: Terraform, the command line
        if not name.startswith("place-"):
            here.place = places[""]
            return self.carry(environ, start_response, self.body(environ))
        here.place = places[name]
        path = "/" + rest[:-2] if rest.endswith("//") else "/" + rest.rstrip("/")
        environ["PATH_INFO"] = path
        if "RAW_URI" in environ:
            environ["RAW_URI"] = environ["RAW_URI"].replace("/" + name, "", 1)
        environ["REQUEST_URI"] = environ.get("REQUEST_URI", "").replace("/" + name, "", 1)
        body = self.body(environ)
        if path == "/bellows":
            return self.instruct(json.loads(body), start_response)
        return self.fail_or_carry(environ, start_response, body)

    @staticmethod
    def body(environ):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        return body

    def instruct(self, order, start_response):
        place = here.place
        with lock:
            place.clock = order.get("clock", place.clock)
            place.room.update(order.get("room", {}))
            place.faults.extend(order.get("faults", []))
            answer = json.dumps({"calls": dict(place.calls), "faults": len(place.faults)}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
        return [answer]

    def fail_or_carry(self, environ, start_response, body):
        called = operation(environ, body)
        with lock:
            here.place.calls[called] += 1
            fault = next((fault for fault in here.place.faults if fault["call"] == called), None)
            if fault:
                fault["times"] = fault.get("times", 1) - 1
                if fault["times"] <= 0:
                    here.place.faults.remove(fault)
        if fault is None:
            return self.carry(environ, start_response, body)
        do = fault["do"]
        if do == "refuse":
            return self.refuse(environ, start_response, fault["status"], fault["code"])
        if do == "partial":
            return self.partial(environ, start_response, body, fault)
        if do == "delay":
            time.sleep(fault["seconds"])
            return self.carry(environ, start_response, body)
        if do == "lose":
            # it happens, and nobody hears of it
            b"".join(self.carry(environ, lambda *_: None, body))
        # "drop": the connection breaks before anything happens
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionError("dropped as ordered")

    def refuse(self, environ, start_response, status, code):
        if "HTTP_X_AMZ_TARGET" in environ:
            answer, kind = json.dumps({"__type": "com.amazonaws.sqs#" + code, "message": "as ordered"}), "json"
        elif b"Action=" in environ["wsgi.input"].getvalue()[:2000]:
            answer, kind = f"<Response><Errors><Error><Code>{code}</Code><Message>as ordered</Message></Error></Errors><RequestID>0</RequestID></Response>", "xml"
        else:
            answer, kind = f"<Error><Code>{code}</Code><Message>as ordered</Message></Error>", "xml"
        answer = answer.encode()
        start_response(f"{status} As ordered", [("Content-Type", "application/" + kind), ("Content-Length", str(len(answer)))])
        return [answer]

    def partial(self, environ, start_response, body, fault):
        """A batch of which every other entry fails."""
        order = json.loads(body)
        withheld, order["Entries"] = order["Entries"][::2], order["Entries"][1::2]
        answer = json_of(self.app, environ, json.dumps(order).encode()) if order["Entries"] else {}
        code, fault_is_senders = fault.get("code", "InternalError"), fault.get("sender_fault", False)
        answer.setdefault("Successful", [])
        answer["Failed"] = answer.get("Failed", []) + [
            {"Id": entry["Id"], "Code": code, "SenderFault": fault_is_senders, "Message": "as ordered"} for entry in withheld
        ]
        answer = json.dumps(answer).encode()
        start_response("200 OK", [("Content-Type", "application/x-amz-json-1.0"), ("Content-Length", str(len(answer)))])
        return [answer]

    def carry(self, environ, start_response, body):
        # S3: whether a condition holds is decided by one write at a time
        writes = environ["REQUEST_METHOD"] == "PUT" and "HTTP_X_AMZ_TARGET" not in environ
        with lock if writes else contextlib.nullcontext():
            return list(self.app(environ, start_response))


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


def main():
    gaps.close()
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    application = Application(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


main()
