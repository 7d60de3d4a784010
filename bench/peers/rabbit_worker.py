"""The same work as a consumer of RabbitMQ that answers by direct reply-to."""

import sys
import time

import pika

connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(sys.argv[1])))
channel = connection.channel()
channel.queue_declare("work", auto_delete=True)
channel.basic_qos(prefetch_count=1)


def on_message(channel, method, properties, body):
    pause, num = body.decode().split()
    if pause != "0":
        time.sleep(int(pause) / 1000)
    channel.basic_publish("", properties.reply_to, num.encode())
    channel.basic_ack(method.delivery_tag)


channel.basic_consume("work", on_message)
channel.start_consuming()
