"""A simulated machine: the shipped daemon and the shipped adapters under a virtual clock, with faults.

One process, one thread, one seeded source of chance: a seed is a history, and the same seed is the same history again.

What is real: the daemon (all of it, over a SQLite file on a disk), the adapter with its link and its MCP, the words
that both say, what Claude Code's hooks translate. What is simulated: time, processes, the socket's bytes, the disk's
failures, the client with its model and its inbox, and the process of a hook, which here says on the wire what
``coterie.hooks.main`` says there, as that one blocks while it waits.

    clock, loop, machine, disk, wires     the parts that the daemon is given
    dial, adapters, hooks, clients, person  whoever uses it
    faults, world, story                  what goes wrong, the whole of it, and what happens in one run
    history, ledger, checker              what was seen, and whether that is what is promised
    runs                                  many seeds, and what is told of them

Links to other devices will stand beside `wires`, in a module of their own (``links``).
"""
