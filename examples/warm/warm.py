#!/usr/bin/env python3
"""A warm command in Python: understudy run --warm --role scheduler -- ./warm.py"""
import os, socket, threading, time

lines = socket.socket(fileno=int(os.environ["UNDERSTUDY_SOCKET"])).makefile("rw", buffering=1)
over = threading.Event()


def work(token):
    while not over.wait(0.1):
        print(f"token {token}: {os.environ['UNDERSTUDY_ID']} works", flush=True)


time.sleep(0.1)  # in place of what takes a program long to start
print("READY=1", file=lines)
worker = None
while state := lines.readline().split():
    if state[0] == "active":
        token = state[1].removeprefix("token=")
        over.clear()
        worker = threading.Thread(target=work, args=[token])
        worker.start()
    elif worker:  # standby, or stop
        over.set()
        worker.join()
        worker = None
        print(f"IDLE={token}", file=lines)
    if state[0] == "stop":
        break
