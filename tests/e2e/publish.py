"""Publishes 50 flows with the stock Confluent producer and Avro serializer, and prints each as JSON.

usage: publish.py BOOTSTRAP REGISTRY_URL SCHEMA_FILE
"""
import json
import sys
import uuid
from datetime import datetime, timezone

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

bootstrap, registry, schema_file = sys.argv[1:]
topic = "flows.observed"
with open(schema_file, encoding="utf-8") as file:
    serialize = AvroSerializer(SchemaRegistryClient({"url": registry}), file.read())
producer = Producer({"bootstrap.servers": bootstrap})
failures = []
for n in range(50):
    flow = {
        "src_app": f"python-{n % 5}",
        "dest_app": "db",
        "vpc_id": "vpc-py",
        "observed_at": 1577836800000 + n * 600_000,
        "bytes_tx": n * 1_000,
        "bytes_rx": n,
    }
    record = dict(
        flow,
        event_id=uuid.uuid4(),
        observed_at=datetime.fromtimestamp(flow["observed_at"] / 1000, timezone.utc),
    )
    value = serialize(record, SerializationContext(topic, MessageField.VALUE))
    producer.produce(topic, value=value, on_delivery=lambda error, _: error and failures.append(error))
    print(json.dumps(flow))
producer.flush(30)
sys.exit(f"not delivered: {failures}" if failures else 0)
