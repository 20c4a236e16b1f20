"""Reads a topic from its start to its end with the stock Confluent consumer and Avro deserializer; prints each record as
JSON with its schema's name.

usage: read.py BOOTSTRAP REGISTRY_URL TOPIC
"""
import json
import sys
import uuid

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

bootstrap, registry, topic = sys.argv[1:]
client = SchemaRegistryClient({"url": registry})
deserialize = AvroDeserializer(client, return_record_name=True)
consumer = Consumer(
    {
        "bootstrap.servers": bootstrap,
        "group.id": str(uuid.uuid4()),
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
    }
)
partitions = consumer.list_topics(topic, 10).topics[topic].partitions
consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
left = set(partitions)
while left:
    message = consumer.poll(30)
    if message is None:
        sys.exit("nothing came for 30 s")
    if message.error():
        if message.error().code() != KafkaError._PARTITION_EOF:
            sys.exit(str(message.error()))
        left.discard(message.partition())
        continue
    value = message.value()
    name = json.loads(client.get_schema(int.from_bytes(value[1:5], "big")).schema_str)["name"]
    record = deserialize(value, SerializationContext(topic, MessageField.VALUE))
    print(json.dumps({"schema": name, "record": record}, default=str))
consumer.close()
