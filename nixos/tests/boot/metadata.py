#!/usr/bin/env python3
"""metadata.py FILE: answers one request on standard input as the metadata service of an instance does, with IMDSv2 only.

FILE is JSON: what there is, by path below /latest/, and `log`, a file that gets a line for each request.
"""

import json
import sys
import time

# started for each request, which the daemon gives a second: it imports little, and its tokens need not be secret
SEAL = "the-boot-test"


def token(seconds):
    return f"{int(time.time()) + seconds}.{SEAL}"


def is_good(given):
    ends, _, seal = given.partition(".")
    return seal == SEAL and ends.isdigit() and int(ends) > time.time()


def answer(method, path, headers, told):
    if path == "/latest/api/token":
        seconds = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if method != "PUT":
            return 405, ""
        if not seconds.isdigit() or not 1 <= int(seconds) <= 21600:
            return 400, ""
        return 200, token(int(seconds))
    if not is_good(headers.get("x-aws-ec2-metadata-token", "")):
        return 401, ""
    value = told.get(path.removeprefix("/latest/"))
    return (404, "") if value is None else (200, value)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        told = json.load(file)
    read = sys.stdin.buffer
    method, path = read.readline().decode("latin1").split()[:2]
    headers = {}
    while line := read.readline().decode("latin1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    code, text = answer(method, path, headers, told)
    body = text.encode()
    head = f"HTTP/1.1 {code} -\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\ncontent-length: {len(body)}\r\n"
    sys.stdout.buffer.write(f"{head}connection: close\r\n\r\n".encode() + body)
    sys.stdout.buffer.flush()
    with open(told["log"], "a", encoding="utf-8") as log:
        log.write(f"{method} {path} {code}\n")


main()
