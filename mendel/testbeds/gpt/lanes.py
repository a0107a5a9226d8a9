"""Functions that take turns, each in a thread of its own, and wait for each other at named places."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch


class Cancelled(BaseException):
    """Ends a thread that the others need no more; code between must not take it for an error of its own."""


class Lane:
    """One thread. It runs from its turn to the next `meet`, then gives the turn to its successor: with one
    thread at a time, the order of everything is fixed."""

    def __init__(self, work):
        self.work = work
        self.turn = threading.Semaphore(0)
        self.successor = self.turn
        self.place, self.brought, self.answer = "", (), None
        self.random = torch.get_rng_state()
        self.over = self.cancelled = False

    def start(self):
        """What the thread does."""
        try:
            self._wait()
            return self.work(meet=self.meet)
        finally:
            self.over = True
            self.successor.release()

    def meet(self, place: str, *brought):
        """Wait at `place` until all are there. Returns this lane's answer."""
        self.place, self.brought = place, brought
        self.random = torch.get_rng_state()
        self.successor.release()
        self._wait()
        return self.answer

    def _wait(self):
        self.turn.acquire()
        if self.cancelled:
            raise Cancelled
        torch.set_rng_state(self.random)  # random numbers go on as if this one were alone


def in_step(works: list, serve, parted: type[Exception]) -> list:
    """Call every function of `works` with `meet=`, and `serve(place, brought)` whenever all that have not
    returned wait at one place; `brought` and what `serve` returns are by number of the function.

    Returns what the functions returned. Raises what one of them or `serve` raised, or `parted` when they wait
    at different places; the others are ended first.
    """
    lanes = dict(enumerate(Lane(work) for work in works))
    back = threading.Semaphore(0)
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(lane.start) for lane in lanes.values()]
        try:
            while lanes:
                ends = [lane.turn for lane in lanes.values()] + [back]
                for lane, successor in zip(lanes.values(), ends[1:], strict=True):
                    lane.successor = successor
                ends[0].release()
                back.acquire()
                for number in [number for number, lane in lanes.items() if lane.over]:
                    del lanes[number]
                    futures[number].result()
                places = {lane.place for lane in lanes.values()}
                if len(places) > 1:
                    raise parted(f"members wait at different places: {', '.join(sorted(places))}")
                if lanes:
                    answers = serve(*places, {number: lane.brought for number, lane in lanes.items()})
                    for number, lane in lanes.items():
                        lane.answer = answers[number]
        finally:
            for lane in lanes.values():
                lane.cancelled, lane.successor = True, back
                lane.turn.release()
                back.acquire()
    return [future.result() for future in futures]
