// amqplib as a program: one command per process, results as JSON lines.
'use strict'

const { parseArgs } = require('node:util')
const amqp = require('amqplib')

const text = (value) => ({ type: 'string', default: value })
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bootstrap: text('127.0.0.1:5672'),
    queue: text(''),
    exchange: text(''),
    key: text(''),
    count: text('1'),
    prefetch: text('0'),
  },
})
const COUNT = Number(flags.count)
const DEADLINE_MS = 40000
const emit = (row) => console.log(JSON.stringify(row))
const body = (number) => Buffer.from(`message ${number}`)

// Declares the queue, sends persistent messages and waits for all confirms.
async function publish(connection) {
  const channel = await connection.createConfirmChannel()
  await channel.assertQueue(flags.queue, { durable: true })
  for (let number = 0; number < COUNT; number++) {
    channel.sendToQueue(flags.queue, body(number), { persistent: true, headers: { number } })
  }
  await channel.waitForConfirms()
  emit({ confirmed: COUNT })
}

// Takes messages, each with an ack of its own.
async function consume(connection) {
  const channel = await connection.createChannel()
  await channel.prefetch(Number(flags.prefetch))
  let left = COUNT
  await new Promise((resolve, reject) => {
    channel.consume(flags.queue, (message) => {
      if (message === null) return reject(new Error('cancelled'))
      const { redelivered, routingKey } = message.fields
      emit({ body: message.content.toString(), redelivered, key: routingKey, headers: message.properties.headers })
      channel.ack(message)
      left -= 1
      if (left === 0) resolve()
    }).catch(reject)
  })
  await channel.close()
}

// Publishes what no queue gets: it comes back before it is confirmed.
async function returned(connection) {
  const channel = await connection.createConfirmChannel()
  const events = []
  channel.on('return', (message) => {
    events.push({ event: 'return', code: message.fields.replyCode, text: message.fields.replyText, key: message.fields.routingKey })
  })
  channel.publish(flags.exchange, flags.key, body(0), { mandatory: true }, (error) => {
    events.push({ event: error ? 'nack' : 'ack' })
  })
  await channel.waitForConfirms()
  events.forEach(emit)
}

// Deletes a queue under its consumer, which then gets null.
async function cancelled(connection) {
  const channel = await connection.createChannel()
  await channel.assertQueue(flags.queue)
  const ended = new Promise((resolve) => {
    channel.consume(flags.queue, (message) => resolve(message === null), { consumerTag: 'counter' })
  })
  const other = await connection.createChannel()
  await other.deleteQueue(flags.queue)
  emit({ cancelled: await ended })
}

// Sends a message to a queue with a time to live of none, from which it goes to another queue.
async function deadLetter(connection) {
  const channel = await connection.createChannel()
  await channel.assertQueue(`${flags.queue}-dead`)
  await channel.assertQueue(flags.queue, {
    messageTtl: 1,
    deadLetterExchange: '',
    deadLetterRoutingKey: `${flags.queue}-dead`,
  })
  const dead = new Promise((resolve) => channel.consume(`${flags.queue}-dead`, resolve, { noAck: true }))
  channel.sendToQueue(flags.queue, body(0))
  const message = await dead
  const [death] = message.properties.headers['x-death']
  emit({ body: message.content.toString(), reason: death.reason, queue: death.queue, count: death.count })
  await channel.deleteQueue(flags.queue)
  await channel.deleteQueue(`${flags.queue}-dead`)
}

// Asks a queue of the name given for an answer by direct reply-to.
async function rpc(connection) {
  const server = await connection.createChannel()
  const { queue } = await server.assertQueue('', { exclusive: true })
  await server.consume(queue, (request) => {
    const { replyTo, correlationId } = request.properties
    server.sendToQueue(replyTo, Buffer.from(`re: ${request.content}`), { correlationId })
  }, { noAck: true })
  const client = await connection.createChannel()
  const answer = new Promise((resolve) => client.consume('amq.rabbitmq.reply-to', resolve, { noAck: true }))
  client.sendToQueue(queue, body(0), { replyTo: 'amq.rabbitmq.reply-to', correlationId: 'one' })
  const message = await answer
  emit({ body: message.content.toString(), correlation: message.properties.correlationId })
}

// Declares a queue with another durability than it has: the channel ends, the connection goes on.
async function mismatch(connection) {
  const channel = await connection.createChannel()
  channel.on('error', () => {})
  await channel.assertQueue(flags.queue, { durable: true })
  await channel.assertQueue(flags.queue, { durable: false }).catch((error) => emit({ code: error.code, message: error.message }))
  const other = await connection.createChannel()
  await other.deleteQueue(flags.queue)
}

const COMMANDS = { publish, consume, return: returned, cancelled, 'dead-letter': deadLetter, rpc, mismatch }

async function main() {
  const deadline = setTimeout(() => {
    console.error('not finished in time')
    process.exit(1)
  }, DEADLINE_MS)
  const connection = await amqp.connect(`amqp://guest:guest@${flags.bootstrap}/`)
  await COMMANDS[positionals[0]](connection)
  await connection.close()
  clearTimeout(deadline)
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
