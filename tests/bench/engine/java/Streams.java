// Kafka Streams as a peer: seconds and number of study intervals by learner and course, a row each in a persistent store with its
// changelog, 2 threads. Told a task as the Python peers are (one JSON argument) and answers alike; its totals are those of the changelog.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

public class Streams {
  static final ObjectMapper JSON = new ObjectMapper();
  static final CountDownLatch DONE = new CountDownLatch(1);
  static final AtomicLong LEFT = new AtomicLong();
  static AtomicLongArray handled;
  static volatile long began, ended, beganCpu, endedCpu;

  static long cpu() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
  }

  static synchronized void begin() {
    if (began == 0) {
      beganCpu = cpu();
      began = System.nanoTime();
    }
  }

  static class Fold implements Processor<String, byte[], Void, Void> {
    ProcessorContext<Void, Void> context;
    KeyValueStore<String, byte[]> totals;

    public void init(ProcessorContext<Void, Void> given) {
      context = given;
      totals = given.getStateStore("totals");
    }

    public void process(Record<String, byte[]> record) {
      if (began == 0) begin();
      try {
        JsonNode item = JSON.readTree(record.value()), data = item.get("data");
        if (data.has("started_at")) {
          String key = item.get("subject").asText() + "|" + data.get("course_id").asText();
          byte[] before = totals.get(key);
          long count = 0, seconds = 0;
          if (before != null) {
            ByteBuffer row = ByteBuffer.wrap(before);
            count = row.getLong();
            seconds = row.getLong();
          }
          OffsetDateTime start = OffsetDateTime.parse(data.get("started_at").asText());
          seconds += Duration.between(start, OffsetDateTime.parse(data.get("ended_at").asText())).getSeconds();
          totals.put(key, ByteBuffer.allocate(16).putLong(count + 1).putLong(seconds).array());
        }
      } catch (java.io.IOException error) {
        throw new java.io.UncheckedIOException(error);
      }
      handled.incrementAndGet(context.recordMetadata().get().partition());
      if (LEFT.decrementAndGet() == 0) {
        endedCpu = cpu();
        ended = System.nanoTime();
        DONE.countDown();
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    JsonNode task = JSON.readTree(arguments[0]);
    String bootstrap = task.get("bootstrap").asText(), name = task.get("name").asText();
    int partitions = task.get("partitions").asInt();
    LEFT.set(task.get("events").asLong());
    handled = new AtomicLongArray(partitions);
    Properties values = new Properties();
    values.putAll(Map.of("application.id", name, "bootstrap.servers", bootstrap, "num.stream.threads", 2, "auto.offset.reset", "earliest",
        "state.dir", task.get("folder").asText(), "replication.factor", 1, "producer.compression.type", "lz4", "producer.acks", "all"));
    StreamsBuilder builder = new StreamsBuilder();
    builder.addStateStore(
        Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("totals"), Serdes.String(), Serdes.ByteArray()).withCachingEnabled());
    builder.stream(task.get("topic").asText(), Consumed.with(Serdes.String(), Serdes.ByteArray())).process(Fold::new, "totals");
    KafkaStreams streams = new KafkaStreams(builder.build(), values);
    streams.start();
    DONE.await();
    streams.close();
    Map<String, Object> answer = new HashMap<>();
    answer.put("seconds", (ended - began) / 1e9);
    answer.put("cpu", (endedCpu - beganCpu) / 1e9);
    answer.put("peak_mib", peak() / 1024.0);
    answer.put("handled", IntStream.range(0, partitions).mapToLong(handled::get).toArray());
    Map<String, long[]> kept = changelog(bootstrap, name + "-totals-changelog", partitions);
    answer.put("totals", kept);
    answer.put("kept", kept);
    JSON.writeValue(Path.of(task.get("answer").asText()).toFile(), answer);
  }

  static long peak() throws Exception {
    for (String line : Files.readAllLines(Path.of("/proc/self/status")))
      if (line.startsWith("VmHWM")) return Long.parseLong(line.replaceAll("\\D", ""));
    throw new IllegalStateException("no VmHWM in /proc/self/status");
  }

  static Map<String, long[]> changelog(String bootstrap, String topic, int partitions) {
    Properties values = new Properties();
    values.putAll(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "earliest", "enable.auto.commit", "false"));
    Map<String, long[]> found = new TreeMap<>();
    try (var consumer = new KafkaConsumer<>(values, new StringDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> all = IntStream.range(0, partitions).mapToObj(number -> new TopicPartition(topic, number)).toList();
      consumer.assign(all);
      consumer.seekToBeginning(all);
      var ends = consumer.endOffsets(all);
      while (all.stream().anyMatch(one -> consumer.position(one) < ends.get(one)))
        consumer.poll(Duration.ofMillis(200)).forEach(record -> {
          ByteBuffer row = ByteBuffer.wrap(record.value());
          found.put(record.key(), new long[] {row.getLong(), row.getLong()});
        });
    }
    return found;
  }
}
