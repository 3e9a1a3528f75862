"""What the engine overrides or leans on inside Faust and aiokafka is what it was written against.

A failure here after an upgrade means: read the changed function, decide whether the override still holds, run
all tests of the engine, then pin the new digest.
"""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import aiokafka
import faust
import pytest
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.conductor import Conductor
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, ConsumerRebalanceListener, Transport

from streams.engine import app, broker, transport

#: Methods that a class of ours replaces, by that class.
OVERRIDES: dict[type, dict[str, str]] = {
    transport.EngineConsumerThread: {
        "_create_worker_consumer": "c2701bfc3e6f",
        "_fetch_records": "39a2c6c79fc1",
    },
    transport.EngineConsumer: {
        "_new_consumer_thread": "0870ec53dea7",
        "_drain_messages": "44a2500309e8",
        "track_message": "217d7f1399a4",
        "ack": "5fcf41cf4515",
        "on_buffer_full": "c8961679e0bc",
        "on_buffer_drop": "4b57e8a418d5",
        "force_commit": "cc094614d22c",
        "resume_partitions": "afe6b7c02a41",
        "perform_seek": "0e8c130ff4b0",
        "resume_flow": "db59630f25b5",
        "on_partitions_revoked": "d04b7ae72c6f",
        "on_stop": "173f86b366f3",
    },
    transport.BatchSchema: {
        "compile": "d46eec5ce319",
    },
    transport.EngineProducer: {
        "_new_producer": "e72355c3430e",
    },
    transport.EngineTables: {
        "on_start": "365dd25fbc0e",
    },
    transport.EngineTransport: {},
    app.StormweirApp: {
        "_new_transport": "42db531312dd",
    },
}
#: Functions we call, or whose order of calls we rely on, without a public promise.
RELIED_ON: dict[str, tuple[Any, str]] = {
    "Consumer._commit": (Consumer._commit, "a20eec84e4b2"),
    "Consumer._getmany": (Consumer._getmany, "f9d47aa9010b"),
    "Consumer._set_active_tps": (Consumer._set_active_tps, "401f4dc88319"),
    "Consumer._get_active_partitions": (Consumer._get_active_partitions, "b24897f3c7af"),
    "Consumer.commit": (Consumer.commit, "a354437baaa0"),
    "Consumer.on_partitions_assigned": (Consumer.on_partitions_assigned, "29ce96596f05"),
    "Consumer.seek_wait": (Consumer.seek_wait, "e9db5bbc4ceb"),
    "Consumer.highwaters": (Consumer.highwaters, "3a2723b22582"),
    "Consumer.earliest_offsets": (Consumer.earliest_offsets, "2833b09d2888"),
    "AIOKafkaConsumerThread._commit": (AIOKafkaConsumerThread._commit, "932852ce7a23"),
    "AIOKafkaConsumerThread._seek_wait": (AIOKafkaConsumerThread._seek_wait, "9d221e816d94"),
    "AIOKafkaConsumerThread.call_thread": (AIOKafkaConsumerThread.call_thread, "479edda75b54"),
    "AIOKafkaConsumerThread.getmany": (AIOKafkaConsumerThread.getmany, "26fc5fc9f3b6"),
    "ConsumerRebalanceListener.on_partitions_revoked": (
        ConsumerRebalanceListener.on_partitions_revoked,
        "348c3aec879f",
    ),
    "ConsumerRebalanceListener.on_partitions_assigned": (
        ConsumerRebalanceListener.on_partitions_assigned,
        "1c1f8406ad36",
    ),
    "Recovery._resume_streams": (Recovery._resume_streams, "d986a6710c1a"),
    "Recovery._restart_recovery.fun": (Recovery._restart_recovery.fun, "6bd8a8558a2d"),
    "TableManager._update_channels": (TableManager._update_channels, "88e3941facc9"),
    "Recovery.on_rebalance": (Recovery.on_rebalance, "aa4d997a1795"),
    "faust.App._on_partitions_revoked": (faust.App._on_partitions_revoked, "d5c895bbe57d"),
    "faust.App._on_partitions_assigned": (faust.App._on_partitions_assigned, "de932b7927db"),
    "Conductor.on_partitions_assigned": (Conductor.on_partitions_assigned, "616e9729131c"),
    "Fetcher.fetched_records": (Fetcher.fetched_records, "be4348896b9b"),
    "Fetcher._proc_fetch_request": (Fetcher._proc_fetch_request, "59bf948fff47"),
    "FetchResult.check_assignment": (FetchResult.check_assignment, "b5340df67e3f"),
    "FetchResult._update_position": (FetchResult._update_position, "83fb1473bf10"),
    "PartitionRecords._unpack_records": (PartitionRecords._unpack_records, "b803e6d46480"),
    "GroupCoordinator._on_join_prepare": (GroupCoordinator._on_join_prepare, "4d9524afc0ee"),
    "BatchBuilder.append": (BatchBuilder.append, "657d76f55157"),
    "BatchBuilder.close": (BatchBuilder.close, "084fb8748d27"),
    "BatchBuilder.__init__": (BatchBuilder.__init__, "35b335f054d3"),
    "MessageAccumulator.add_batch": (MessageAccumulator.add_batch, "5ed1c5b1367a"),
    "aiokafka.AIOKafkaProducer.send_batch": (aiokafka.AIOKafkaProducer.send_batch, "bf42b0f0c5c0"),
}


def digest(function: Callable[..., Any]) -> str:
    """The first 12 hex digits of the SHA-256 of a function's source."""
    return hashlib.sha256(inspect.getsource(inspect.unwrap(function)).encode()).hexdigest()[:12]


def inherited(ours: type, name: str) -> Any:
    """What `ours` would use if it did not define `name`, None if nothing."""
    return next((vars(base)[name] for base in ours.__mro__[1:] if name in vars(base)), None)


def overridden(ours: type) -> dict[str, Any]:
    """The inherited functions that a class of ours replaces."""
    found = {name: inherited(ours, name) for name in vars(ours) if not name.startswith("__")}
    return {
        name: value for name, value in found.items() if inspect.isfunction(inspect.unwrap(value) if value else None)
    }


@pytest.mark.parametrize("ours", OVERRIDES, ids=lambda ours: ours.__name__)
def test_every_overridden_method_is_the_one_we_replaced(ours: type) -> None:
    """The list is complete, and no replaced method has changed."""
    assert {name: digest(function) for name, function in overridden(ours).items()} == OVERRIDES[ours]


@pytest.mark.parametrize("name", RELIED_ON)
def test_what_we_rely_on_has_not_changed(name: str) -> None:
    """Private functions the engine calls, and the order of Faust's steps around a rebalance."""
    function, pinned = RELIED_ON[name]
    assert digest(function) == pinned, f"{name} changed in faust {faust.__version__} or aiokafka {aiokafka.__version__}"


def test_private_attributes_are_where_we_use_them() -> None:
    """The attributes the engine sets or reads exist: a fetch's patience and isolation, a batch's builder."""
    assert "self._fetch_max_wait_ms = fetch_max_wait_ms" in inspect.getsource(aiokafka.AIOKafkaConsumer.__init__)
    assert "self._isolation_level = isolation_level" in inspect.getsource(aiokafka.AIOKafkaConsumer.__init__)
    assert "isolation_level=self._isolation_level" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    assert "self._fetch_max_wait_ms" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    assert "self._builder = DefaultRecordBatchBuilder(" in inspect.getsource(BatchBuilder.__init__)
    assert "_thread" in Consumer.__annotations__
    assert Transport.Consumer is Consumer
    assert transport.EngineTransport.Consumer is transport.EngineConsumer
    assert transport.EngineTransport.Producer is transport.EngineProducer
    assert issubclass(broker._Batch, BatchBuilder)
