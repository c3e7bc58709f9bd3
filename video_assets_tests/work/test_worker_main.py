from __future__ import annotations

import pickle
import socket
import threading

import pytest

from video_assets.work import worker_main
from video_assets.work.messages import Inbox, Item, Load, Message, Ready, Rest, Value, frame
from video_assets_tests.work.worker_functions import double


def answer(channel: socket.socket) -> Message:
    inbox = Inbox()
    while (message := inbox.add(channel.recv(3))) is None:
        pass
    return message


def test_a_resting_worker_leaves_and_a_called_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_main, "_REST_S", 0.1)
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    server = threading.Thread(target=worker_main._serve, args=(theirs,), daemon=True)
    server.start()
    with ours, theirs:
        ours.sendall(frame(Rest()) + frame(Load(pickle.dumps(double))))
        assert answer(ours) == Ready()
        server.join(0.3)
        assert server.is_alive()
        ours.sendall(frame(Item(pickle.dumps(21))))
        value = answer(ours)
        assert isinstance(value, Value)
        assert pickle.loads(value.value_pickle) == 42
        ours.sendall(frame(Rest()))
        server.join(10)
        assert not server.is_alive()
