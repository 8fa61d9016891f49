// KafkaJS as a program: one command per process, results as JSON lines.
'use strict'

const { parseArgs } = require('node:util')
const { CompressionTypes, Kafka, Partitioners, logLevel } = require('kafkajs')

const text = (value) => ({ type: 'string', default: value })
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bootstrap: text('127.0.0.1:9092'),
    topic: text(''),
    group: text(''),
    count: text('1'),
    partitions: text('1'),
    offset: text('0'),
    millis: text('0'),
    codec: text('none'),
    name: text(''),
    value: text(''),
    idempotent: text(''),
    acks: text('-1'),
  },
})
const COUNT = Number(flags.count)
const DEADLINE_MS = 40000
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP }
const TOPIC_RESOURCE = 2

const kafka = new Kafka({ clientId: 'tests', brokers: [flags.bootstrap], logLevel: logLevel.NOTHING, retry: { retries: 3 } })
const emit = (row) => console.log(JSON.stringify(row))

async function produce() {
  const producer = kafka.producer({
    createPartitioner: Partitioners.DefaultPartitioner,
    idempotent: flags.idempotent === 'true',
  })
  await producer.connect()
  const messages = Array.from({ length: COUNT }, (_, number) => ({
    key: `key ${number}`,
    value: `value ${number}`,
    headers: { number: String(number) },
  }))
  const sent = await producer.send({
    topic: flags.topic,
    acks: Number(flags.acks),
    compression: CODECS[flags.codec],
    messages,
  })
  sent.forEach((part) => emit({ partition: part.partition, offset: Number(part.baseOffset), error: part.errorCode }))
  await producer.disconnect()
}

// Prints messages that the group has not read yet, commits behind each and leaves.
async function group() {
  const consumer = kafka.consumer({ groupId: flags.group, heartbeatInterval: 500, sessionTimeout: 10000 })
  await consumer.connect()
  await consumer.subscribe({ topics: [flags.topic], fromBeginning: true })
  let left = COUNT
  let done
  const finished = new Promise((resolve) => (done = resolve))
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message }) => {
      if (left === 0) return
      emit({
        partition,
        offset: Number(message.offset),
        key: message.key.toString(),
        value: message.value.toString(),
        headers: Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, value.toString()])),
      })
      await consumer.commitOffsets([{ topic, partition, offset: String(Number(message.offset) + 1) }])
      left -= 1
      if (left === 0) done()
    },
  })
  await finished
  await consumer.disconnect()
}

const resource = () => ({ type: TOPIC_RESOURCE, name: flags.topic })

const administration = {
  async create(admin) {
    const configEntries = flags.name ? [{ name: flags.name, value: flags.value }] : []
    const made = await admin.createTopics({
      topics: [{ topic: flags.topic, numPartitions: Number(flags.partitions), configEntries }],
    })
    emit({ made })
  },
  async topics(admin) {
    ;(await admin.listTopics()).forEach((topic) => emit({ topic }))
  },
  async describe(admin) {
    const { topics } = await admin.fetchTopicMetadata({ topics: [flags.topic] })
    topics[0].partitions
      .sort((a, b) => a.partitionId - b.partitionId)
      .forEach((part) => emit({ partition: part.partitionId, leader: part.leader, isr: part.isr }))
  },
  async delete(admin) {
    await admin.deleteTopics({ topics: [flags.topic] })
  },
  async 'add-partitions'(admin) {
    await admin.createPartitions({ topicPartitions: [{ topic: flags.topic, count: Number(flags.partitions) }] })
  },
  async offsets(admin) {
    ;(await admin.fetchTopicOffsets(flags.topic)).forEach((part) =>
      emit({ partition: part.partition, start: Number(part.low), end: Number(part.high) }),
    )
  },
  async 'offset-at'(admin) {
    const [part] = await admin.fetchTopicOffsetsByTimestamp(flags.topic, Number(flags.millis))
    emit({ offset: Number(part.offset) })
  },
  async 'delete-records'(admin) {
    // KafkaJS deletes only where it has looked before.
    await admin.fetchTopicOffsets(flags.topic)
    await admin.deleteTopicRecords({ topic: flags.topic, partitions: [{ partition: 0, offset: flags.offset }] })
  },
  async committed(admin) {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: flags.group, topics: [flags.topic] })
    partitions.forEach((part) => emit({ partition: part.partition, offset: Number(part.offset) }))
  },
  async commit(admin) {
    const partitions = [{ partition: 0, offset: flags.offset }]
    await admin.setOffsets({ groupId: flags.group, topic: flags.topic, partitions })
  },
  async groups(admin) {
    const { groups } = await admin.listGroups()
    groups.forEach((listed) => emit({ group: listed.groupId, protocol: listed.protocolType }))
  },
  async 'describe-group'(admin) {
    const { groups } = await admin.describeGroups([flags.group])
    emit({ state: groups[0].state, members: groups[0].members.length })
  },
  async 'delete-group'(admin) {
    await admin.deleteGroups([flags.group])
  },
  async configs(admin) {
    const found = await admin.describeConfigs({ includeSynonyms: false, resources: [resource()] })
    found.resources[0].configEntries
      .filter((entry) => !flags.name || entry.configName === flags.name)
      .forEach((entry) => emit({ name: entry.configName, value: entry.configValue }))
  },
  async 'alter-config'(admin) {
    const configEntries = [{ name: flags.name, value: flags.value }]
    await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource(), configEntries }] })
  },
  async cluster(admin) {
    const found = await admin.describeCluster()
    const [broker] = found.brokers
    emit({ id: found.clusterId, controller: found.controller, brokers: found.brokers.length, address: `${broker.host}:${broker.port}` })
  },
}

async function administer(command) {
  const admin = kafka.admin()
  await admin.connect()
  await command(admin)
  await admin.disconnect()
}

async function main() {
  const [name] = positionals
  if (name === 'produce') return produce()
  if (name === 'group') return group()
  if (name in administration) return administer(administration[name])
  throw new Error(`no command ${name}`)
}

function fail(error) {
  const causes = (error.errors ?? []).map((cause) => cause.type)
  console.error([error.name, error.type, error.message, ...causes].filter(Boolean).join(': '))
  process.exit(1)
}

setTimeout(() => fail(new Error(`no end within ${DEADLINE_MS} ms`)), DEADLINE_MS).unref()
main().catch(fail)
