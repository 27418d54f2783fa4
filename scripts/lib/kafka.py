"""Kafka as a foreign program uses it: a producer of tasks, and readers that belong to no group of the farm."""

import time

from confluent_kafka import Consumer, Producer, TopicPartition

import wire


class Kafka:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 0})

    def produce(self, topic, records):
        """Sends (key, value, headers), and fails unless all arrive."""
        failed = []
        for key, value, headers in records:
            self.producer.produce(topic, value, key, headers=headers, on_delivery=lambda e, _: e and failed.append(e))
        if self.producer.flush(60) or failed:
            raise SystemExit(f"e2e: kafka did not take the tasks: {failed[:1]}")

    def consumer(self, group):
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )

    def partitions(self, consumer, topic):
        return sorted(consumer.list_topics(topic, 10).topics[topic].partitions)

    def lag(self, group, topic):
        """Records that the group has not committed."""
        consumer = self.consumer(group)
        try:
            asked = [TopicPartition(topic, number) for number in self.partitions(consumer, topic)]
            lag = 0
            for committed in consumer.committed(asked, 10):
                low, high = consumer.get_watermark_offsets(committed, 10)
                lag += high - max(committed.offset, low)
            return lag
        finally:
            consumer.close()

    def n_records(self, topic):
        consumer = self.consumer("e2e-count")
        try:
            marks = [
                consumer.get_watermark_offsets(TopicPartition(topic, number), 10)
                for number in self.partitions(consumer, topic)
            ]
            return sum(high - low for low, high in marks)
        finally:
            consumer.close()


class Results:
    """Reads commit-results from the beginning, as one who knows five fields of it."""

    def __init__(self, kafka, topic):
        self.consumer = kafka.consumer("e2e-results")
        self.consumer.assign([TopicPartition(topic, n, 0) for n in kafka.partitions(self.consumer, topic)])
        # By task: every record's bytes, in order.
        self.records = {}
        self.problems = []

    def read(self, seconds):
        """Takes what comes within this time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.read_next(left)

    def read_next(self, seconds):
        """Takes the next record, if it comes within this time."""
        message = self.consumer.poll(seconds)
        if message is None:
            return
        if message.error():
            raise SystemExit(f"e2e: results cannot be read: {message.error()}")
        self.take(message.key(), message.value())

    def take(self, key, value):
        try:
            task = wire.result(value)["task_id"]
        except (ValueError, TypeError, IndexError) as error:
            self.problems.append(f"a result with key {key!r} cannot be decoded: {error}")
            return
        if key != task.encode():
            self.problems.append(f"{task}: its result has the key {key!r}")
        self.records.setdefault(task, []).append(value)

    def close(self):
        self.consumer.close()
