"""Simulated devices: the shipped daemon and the shipped adapters under a virtual clock, with faults.

One process, one thread, one seeded source of chance: a seed is a history, and the same seed is the same history again.
Half of the seeds have one device, the others two or three that are paired.

What is real: the daemon (all of it, over a SQLite file on a disk), the adapter with its link and its MCP, the words
that both say, what Claude Code's hooks translate; between devices the outbox, the envelopes with their signatures, the
links, and in half of the seeds the whole relay. What is simulated: time (a device's own, wrong by years, fast or slow,
and standing still while it sleeps), processes, the bytes of sockets, TLS, the disk's failures, the client with its
model and its inbox, and the process of a hook, which here says on the wire what ``coterie.hooks.main`` says there, as
that one blocks while it waits.

    clock, loop, machine, disk, wires     the parts that a daemon is given
    roads                                 the bytes between devices
    direct, links, liberties              the fabric: the shipped one over roads, and a second one; what both may do
    dial, adapters, hooks, clients, person  whoever uses it
    faults, sites, world, story, between  what goes wrong, a device, all of them, and what happens in one run
    history, ledger, checker, afar        what was seen, and whether that is what is promised
    runs                                  many seeds, and what is told of them
"""
