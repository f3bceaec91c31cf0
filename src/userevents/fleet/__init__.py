"""Many hosts over NATS JetStream: who is there, which events live where, what is enabled on which."""
