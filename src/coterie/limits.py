"""Every number of Coterie that bounds something, with its unit and its reason. This module is light."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
DAY_S = 86_400

# --- The wire between the daemon and its clients ---------------------------------------------------------------

PROTOCOL = 1
"""The newest protocol this code speaks. Raised when a method changes meaning, not when one is added."""
PROTOCOL_OLDEST = 1
"""The oldest protocol served: the previous one, so that sessions that started before an upgrade live on."""
LINE_BYTES_MAX = 1 * MIB
"""One line of JSON. Forty times the largest message after escaping; it bounds what one client can make us hold."""
JSON_DEPTH_MAX = 32
"""Nesting of one line. Our own deepest answer has five levels; depth bombs have thousands."""
JSON_DEPTH_LOOSE_MAX = 500
"""Nesting of what a client tells its hook, tool results included. Python's decoder fails at about a thousand."""
IN_FLIGHT_MAX = 64
"""Requests of one connection under way at once; beyond it the connection is simply not read from."""
BACKLOG = 1024
"""Connections waiting to be accepted. With asyncio's default of 100, 200 sessions joining at once lost 99."""
HELLO_S = 5.0
"""A connection that has not said hello by then is closed: it holds a descriptor and is nobody."""
CALL_S = 10.0
"""How long a client waits for an answer that needs no waiting. The daemon answers in milliseconds; a full disk or
a suspended laptop takes longer, and past this the person is better served by being told."""
START_S = 10.0
"""How long a client waits for a daemon to come up. Measured: 0.2 s; a cold disk needs more."""
OUTGOING_BYTES_MAX = 8 * MIB
"""Bytes waiting for a connection that does not read; past it the connection is cut, or it would take our memory."""

# --- The life of the daemon -------------------------------------------------------------------------------------

IDLE_EXIT_S = 300.0
"""Without any connection for so long, the daemon leaves; whoever needs it next starts it in 0.2 s."""
DRAIN_S = 2.0
"""At its end the daemon gives running commits and answers so long."""
SOCKET_PATH_BYTES_MAX = 103
"""sun_path holds 104 bytes on macOS and 108 on Linux, with the final zero."""
LOG_BYTES_MAX = 1 * MIB
"""daemon.log is turned over at this size; one older file is kept."""

# --- Messages ---------------------------------------------------------------------------------------------------

FRAME_BYTES_MAX = 16 * KIB
"""One carrier's text in a tool result or the inbox, frames included. Beyond it models skim and clients cut."""
MESSAGE_BYTES_MAX = 15 * KIB
"""One message's text, after neutralising and quoting. Below FRAME_BYTES_MAX by the room its frame needs, so that
every message accepted can be shown whole: a frame is never cut."""
HOOK_CHARS_MAX = {"claude": 8_000, "codex": 6_000, "gemini": 8_000, "opencode": 8_000}
"""Context that a hook may add. Claude Code cuts at 10,000 characters; Codex above 2,500 tokens, as which it counts four
bytes each, so its figure is one of bytes.
"""
MENTIONED_MAX = 500
"""Messages that one prompt may be evidence for; a full inbox line holds a few dozen."""
PROMPT_SENT_CHARS = 200
"""Of a prompt's first line, what a hook passes on. Twice what is shown, so that a cut is seen to be one."""
HEADING_CHARS = 80
"""How much of a message's text its heading shows."""
LOG_ANSWER_BYTES_MAX = 512 * KIB
"""Text in one answer of the log: half of LINE_BYTES_MAX, as escapes may double it. `before` pages on."""
PATH_CHARS_MAX = 4096
"""A working folder: PATH_MAX of Linux. It is shown in every list, so it must cost little."""
SESSION_CHARS_MAX = 200
"""A host session id. Those known are UUIDs of 36 characters."""
HEADINGS_MAX = 20
"""Headings in one answer; the rest is counted. A longer list is noise to a model."""
MESSAGE_LIFE_S = 7 * DAY_S
"""Unread mail waits so long by default: a week covers a holiday weekend and a laptop left at work."""
MESSAGE_LIFE_MIN_S = 1.0
"""The shortest life a sender may ask for."""
MESSAGE_LIFE_MAX_S = 30 * DAY_S
"""The longest; beyond a month nobody remembers what it was about."""
ACKNOWLEDGED_KEPT_S = 30 * DAY_S
"""Text of acknowledged messages is kept so long for `coterie log`."""
HISTORY_BYTES_MAX = 256 * MIB
"""Text of messages that are over. Past it the oldest go first; unread mail is never counted nor removed."""
UPKEEP_S = 1 * DAY_S
"""How often the daemon looks for history to remove; expiry has its own exact timer."""
HISTORY_STEP_ROWS = 2_000
"""Messages of the history that are looked at in one transaction: some milliseconds."""
HISTORY_STEP_GOING = 100
"""Of them, how many are removed. Each has pages of its own in seven indexes. Measured: 200,000 in one transaction made
the write-ahead log 156 MiB long, and nothing else is written meanwhile."""
STOPS_WITHOUT_EVIDENCE = 2
"""An offer lapses at this Stop. A text posted in the middle of a turn rides on the next step or starts the next
turn, so at one Stop it may still be on its way; at the second it was dropped."""
WAIT_S_MAX = 50.0
"""A waiting send. Codex gives a tool call 60 s by default, Claude Code moves it to the background at 120 s."""
SETTLE_S = 0.25
"""How long a send may wait for the first carrier's report, so that its answer can say more than "queued"."""
LOG_ROWS_MAX = 200
"""Messages in one answer of the log; `before` pages on."""
HISTORY_ROWS_MAX = 50
"""Messages in one `check_messages` with history; a model reads no more."""
SEARCH_CHARS_MAX = 1_000
"""What one search looks for. A word is looked up for each; nobody types more than a paragraph."""
SEARCH_ROWS = 250
"""Messages that the search index takes in at once. Measured: 2 ms, for which sends that come meanwhile wait."""
SEARCH_FILL_S = 0.5
"""How long one call fills the index before it says how far it is: whoever waits for it sees it move."""
USAGE_FIRST_S = 0.5
"""After a session came, until its processes are looked at for the first time: one look for all that come together."""
USAGE_LEAST_S = 1.0
"""Over less than this a share of a processor says little: processes are billed in ticks of 10 ms."""
CHAIN_STEPS_MAX = 50
"""How far the causes of a message are followed. HOPS_MAX stops agents long before; a person may go on for ever."""
CHAIN_ROWS_MAX = 100
"""Messages of other threads that one answer names as made of a thread. More is no longer a picture."""

# --- Guards: what one agent may send (each can be set: coterie config) ----------------------------------------------

FAN_OUT_AGENT_MAX = 8
"""Recipients of one message from an agent, and of what it makes of one text. Infection tests of agent networks spread
by broadcast; a person may write to everybody."""
HOPS_MAX = 3
"""How many further peers may pass on what began with one. Work goes from a lead to a worker and to whoever that one
asks; what travels further is mostly a rumour, or a worm."""
PAIR_BURST = 100
"""Messages from one agent to another at once. A report in parts has a dozen; a client keeps 30 inbox lines."""
PAIR_PER_MINUTE = 30
"""Messages a minute from one agent to another, once a burst is spent. A model that works between two messages sends
fewer; two that only answer each other send more."""
REPEATS_MAX = 3
"""The same text from one agent to another within REPEAT_S. An echo is a loop; "done" may be said twice."""
REPEAT_S = 600.0
"""How long a text is remembered for REPEATS_MAX."""
THREAD_MAX = 60
"""Messages of agents in one thread without a word of a person. Echo storms ran to 398 unnoticed."""
EXCHANGE_MAX = 200
"""Messages between two agents, in whatever threads, without a word of a person to either of them. A night's work of two
that share a task has some dozens."""
CAUSE_S = 3600.0
"""How long a text counts as the cause of what its reader sends, where nothing tells that a person spoke since."""
MAILBOX_MESSAGES_MAX = 1_000
"""Unread messages of one peer. A model that comes back to more reads none of them well."""
MAILBOX_BYTES_MAX = 4 * MIB
"""Their text: a thousand of the usual length, or 270 of the longest."""
NOTICE_GAP_S = 600.0
"""Between two notices to the person about the same pair and limit."""
NOTICE_REFUSALS = 10
"""Refusals of one agent for its rate or its repeats, within NOTICE_GAP_S, at which the person is told: an agent that
heeds what it is told stops after one or two."""
NOTICES_UNREAD_MAX = 20
"""Notices that wait for the person; the last says that there may be more. Nobody reads a longer list in the morning."""
PAIRS_KEPT_MAX = 10_000
"""Pairs of peers whose rate is remembered: 2 MiB. One that is forgotten may send a burst again."""
TEXTS_KEPT_MAX = 10_000
"""Texts remembered for REPEATS_MAX, by their hash: 3 MiB."""
COUNTS_KEPT_MAX = 4_096
"""Threads, exchanges and causes whose counts are held in memory; the others are counted anew in the database."""
GIVEN_KEPT = 32
"""Messages given to a peer since it last wrote that are held in memory, to find what made it write."""
GIVEN_ROWS = 200
"""Messages of a peer in which the database is searched for that: what is older is mostly in CAUSE_S no more."""
EXCHANGE_ROWS = 2_000
"""Messages from one peer to another that are counted at most, when a daemon begins or the pair was quiet for long."""

# --- The Claude Code inbox (reference: measured with 2.1.328) ----------------------------------------------------

INBOX_S = 2.0
"""How long a post to the inbox may take. A living client takes it in well under a millisecond."""
INBOX_GAP_S = 0.3
"""Between two lines to one inbox. A burst of 80 lines lost 50 silently; batches, one line each, lose none."""
INBOX_SLOW_GAP_S = 60.0
"""Between two lines once INBOX_LINES_MAX are out without a sign: seldom enough to be no burst, and never deaf."""
INBOX_RETRIES_S = (1.0, 5.0, 30.0)
"""After a post that failed, the next tries. An inbox that is still shut then waits for the next message or call."""
INBOX_LINES_MAX = 20
"""Lines posted without a sign that the session read any. The client keeps 30 and drops the rest silently."""

# --- Nudges: a word to a client that there is mail, without the mail ----------------------------------------------

NUDGE_GAP_S = 60.0
"""Between two nudges of one session that gave no sign in between. Each costs it a request to its model."""
NUDGE_PATIENCE_S = 20.0
"""How long mail waits for the hooks of a busy session before its client is told. They mostly bring it in seconds; a
turn that was interrupted never does."""
NUDGE_S = 10.0
"""How long a client may take to accept a nudge. Measured: 10 ms on a socket, 0.2 s by command."""
NUDGE_RETRIES_S = (1.0, 5.0, 30.0)
"""After a nudge that nobody took, the next tries; then it waits for new mail."""
NUDGE_NAMES_MAX = 3
"""Messages that a nudge names; the rest is counted."""

# --- Codex (measured with 0.169.0) --------------------------------------------------------------------------------

APP_SERVER_S = 4.0
"""How long the app-server may take for one answer. It takes 1 to 10 ms; two of them must fit into NUDGE_S."""
APP_SERVER_BYTES_MAX = 16 * MIB
"""One message of the app-server. It names a thread with its first prompt, into which people paste whole files."""
APP_SERVER_RETRIES_S = (1.0, 5.0, 30.0)
"""After a connection that ended, the next tries. An app-server that comes later starts adapters, which say so."""
APP_SERVER_STEADY_S = 60.0
"""After a try that long ago the tries are counted anew: what was found then has stayed, or much has changed since. More
than the longest of the pauses, or they would never end.
"""
THREADS_MAX = 1_000
"""Threads of one app-server that are looked at. People have a dozen."""
CODEX_QUEUE_S = 8.0
"""How long `codex queue` may take: less than NUDGE_S. It takes 0.1 to 0.2 s."""

# --- The configuration ----------------------------------------------------------------------------------------------

CONFIG_BYTES_MAX = 64 * KIB
"""A configuration file. All keys with a comment for each take 4 KiB; a repository's file comes from a stranger."""
CONFIG_LOOK_S = 1.0
"""Between two looks whether the person's file changed, and only while somebody needs a setting."""
REPOSITORY_LOOK_S = 5.0
"""The same for a repository's file. A look is a process of its own (10 ms), as its mount may hang."""
COMPLETION_S = 0.5
"""How long the completion of a name at the shell waits for the daemon. It answers in 2 ms; past this it annoys."""
DESKTOP_GAP_S = 5.0
"""Between two notifications on the desktop. What comes meanwhile is told in one."""
DESKTOP_S = 5.0
"""How long the desktop may take to accept one."""

# --- Peers --------------------------------------------------------------------------------------------------------

NAME_CHARS_MAX = 32
"""A peer's name or role: it must fit a table column and be typed."""
SUMMARY_CHARS_MAX = 300
"""A summary: two sentences."""
PROMPT_LINE_CHARS = 100
"""Of a prompt, what a summary made by hooks shows: enough to know the subject."""
ACTIVITY_FILES_MAX = 5
"""Files in such a summary: the newest; the whole list is git's business."""
OWN_SUMMARY_S = 3600.0
"""How long what an agent said of itself is taken for true; after an hour it mostly does something else."""
LOADED_WOKEN_S = 1800.0
"""A thread that is only loaded is woken if its last event is no older. Without a window it would run unseen."""
ID_PREFIX_MIN = 4
"""Characters of an id that may stand for it. Fewer are typing errors more often than addresses."""
AWAY_KEPT_S = 30 * DAY_S
"""A peer away for so long, with no mail waiting, has ended: its name becomes free."""
ENDED_KEPT_S = 7 * DAY_S
"""A peer that has ended is known so long, so that a send to it can say so instead of "nobody is called so"."""
KILL_S = 5.0
"""How long a session that was asked to end may take. Measured: Claude Code ends within half a second of a SIGTERM."""
KILL_LOOK_S = 0.02
"""Between two looks whether it has ended."""
GIT_S = 2.0
"""How long git may take to name a repository. It takes 2 ms; a dead network mount takes for ever."""
BRANCH_S = 1.0
"""How old what git said of a branch may be: many sessions of one folder are prompted in one second."""
SUBAGENT_CALLS_MAX = 256
"""Tool calls of sub-agents remembered for one session, to be told apart from its own."""

# --- Devices, links, and what waits for them -------------------------------------------------------------------------

LINK_LINE_BYTES_MAX = 64 * KIB
"""One line of a link. Four times the longest message; what one device can make us hold before we look at it."""
OUTBOX_WINDOW = 64
"""Messages to one device that are under way and not confirmed. One after the other they would cost a round trip each;
more would only wait in another place."""
RESEND_S = 10.0
"""A message that is not confirmed by then is sent again, while there is a way. A receiver confirms within milliseconds,
and may keep silent for as long as its disk is full."""
UNHEARD_S = 7 * DAY_S
"""A message that another device has, and of which that one tells nothing for so long after its life was over, has
expired. A device that was on holiday tells first."""
OUTBOX_ROWS_MAX = 20_000
"""Messages that wait for one device: a week of several busy agents."""
OUTBOX_BYTES_MAX = 64 * MIB
"""Their text."""
NEIGHBOURS_MAX = 200
"""Sessions of one device that are known here. People run dozens."""
NEIGHBOURS_GONE_MAX = 200
"""Sessions of one device that it shows no more and that are still known, so that an answer to them can say so."""
SNAPSHOT_BYTES_MAX = 56 * KIB
"""What one device tells another of its sessions at once: one line of a link, with room for what frames it."""
REPO_CHARS = 60
"""Of a repository's name, what another device is told."""
SHOW_GAP_S = 0.3
"""Between two words to other devices on what changed here: what comes together is told together."""
SHOW_AGAIN_S = (2.0, 10.0, 30.0)
"""What another device did not confirm to know is told again after so long, in the end each time after the last, while
there is a way to it. It confirms within TAKE_GAP_S, unless something was lost or it stands still."""
TAKE_GAP_S = 0.2
"""Between two words of one device on its sessions that are taken in. Shorter than SHOW_GAP_S, so that one that keeps
the rules never waits; of what another sends meanwhile only the newest counts."""
DEVICE_NAME_CHARS = 40
"""A device's label, as it stands behind the @ of an address."""
HEARTBEAT_S = 30
"""Between two signs of life on a link: three missed ones end it, so a dead peer is known as one within 90 s."""
RECONNECT_MAX_S = 25
"""The longest pause between two tries to reach a device: once the way is there again, a link is tried within half a
minute, and has some seconds of it left to come up and to send what waits."""
PEERS_MAX = 8
"""Devices that are connected at once, unless set otherwise: what one person, or a small team, has."""
REQUESTS_MAX = 100
"""Requests and held messages of one device that wait for the person. More is noise, and nobody reads it."""
MEET_S = 15.0
"""How long whoever asked for a link is made to wait for it: the first tries of every address, and a handshake."""
REQUEST_REASON_CHARS = 200
"""Of a device's reason to ask for a right: one line of a wide terminal."""

# --- Pairing ---------------------------------------------------------------------------------------------------------

INVITATION_S = 600.0
"""The life of an invitation: long enough to walk to the other machine, and a code that lies about is soon worthless."""
BURNT_MAX = 5
"""Invitations tried with a wrong code, within BURNT_WITHIN_S, after which nobody is invited until the person acts: five
guesses at 22 bits find the code once in 800,000 hours of guessing. People mistype less, as slips are caught before."""
BURNT_WITHIN_S = 3600.0
"""The hour of BURNT_MAX."""
PAIRING_S = 10.0
"""How long one attempt to pair may take as a whole. It takes 20 ms, and three times what the way takes."""
PAIRING_CONNECT_S = 5.0
"""How long one address may take to answer, before the next is tried. Beyond it there is mostly a firewall."""
PAIRING_STORED_S = 3.0
"""How long the joiner then waits for the inviter to have stored it, so that its first link does not come too early."""
PAIRING_LINE_BYTES_MAX = 4 * KIB
"""One line of a pairing. The longest has a certificate of 0.4 KiB and addresses; it comes from a stranger."""
ADDRESSES_MAX = 8
"""Addresses of one device: of two networks in both families, and a name or two."""
ADDRESS_CHARS_MAX = 262
"""One address: a host name of 253 characters, a colon and a port, and room for brackets."""

# --- Links to other devices, and strangers at the door ----------------------------------------------------------------

HANDSHAKE_S = 10.0
"""From the TCP accept until a device has proved itself, or a pairing is over, however its bytes drip. Measured on
loopback: 3 ms for a link, 20 ms for a pairing; a far and lossy line takes seconds."""
HANDSHAKE_LINE_BYTES_MAX = 1 * KIB
"""A line of the handshake. They have 230 bytes."""
SILENT_INTERVALS = 3
"""So many heartbeat intervals without a line, and a link is dead: two signs of life were asked for in vain."""
LINK_OUTGOING_BYTES_MAX = 4 * MIB
"""Bytes waiting for a device that does not read. OUTBOX_WINDOW lines of the longest fit; past it the link is cut, and
what was in it is sent again."""
LINK_CLOSE_S = 0.5
"""How long a link that is given up may take to send what it has left: within the second in which forgetting works."""
CONNECT_S = 5.0
"""How long one address may take to answer at all, until the next is tried: a lost SYN is sent again after 1 and 3 s."""
RECONNECT_FIRST_S = 1.0
"""The first wait after a link ended. A daemon that is restarted is back in 0.3 s."""
LINK_STEADY_S = 5.0
"""A link that lived so long makes the waits begin anew. One that always ends at once must not make two devices spin."""
UNPROVED_MAX = 16
"""Connections that have not proved who they are, and as many again from addresses where a paired device was seen.
Each costs us a handshake and 100 KiB; a handshake is over in milliseconds."""
FAILURES_MAX = 5
"""Failures of one address within SILENCE_S until it is not listened to. A person who mistypes makes one a minute."""
SILENCE_S = 60.0
"""How long its connections are then closed as they come, unless the person invites somebody meanwhile."""
SOURCES_MAX = 4_096
"""Addresses of which failures are remembered; beyond, those that failed longest ago are forgotten. 2 MiB."""
SOURCES_SAID_MAX = 20
"""Addresses a minute whose failures get a line in the log; a flood from everywhere must not turn it over."""
ACCEPT_BURST = 8
"""Connections taken before others get their turn: strangers who come in a flood must not stop the links that live."""
ACCEPT_PAUSE_S = 1.0
"""After the process ran out of descriptors, until it looks for strangers again."""
LINK_BACKLOG = 1024
"""Connections waiting to be taken. Measured under 1,000 strangers: with 128 the queue ran full, and one paired device
in thirty waited a second for its kernel to ask again."""

JOIN_CALL_S = 120.0
"""How long a command waits for a pairing: each address of an invitation may take PAIRING_CONNECT_S, and PAIRING_S."""
ACCEPT_CALL_S = INVITATION_S + JOIN_CALL_S
"""How long one waits that may be told first where the other device is."""

# --- Clocks ---------------------------------------------------------------------------------------------------------

CLOCK_SET_S = 1.0
"""A wall clock that differs by more from the time that passed was set. Time services slew smaller differences away."""
CLOCK_STRETCHES_MAX = 64
"""How many settings of the clock are remembered. Beyond, the oldest goes: what was stamped then is long gone."""
MACHINE_OFF_S = 1 * DAY_S
"""How much of the time that the machine was off counts. Only the wall clock tells of it, and after a boot it is wrong
most easily: a battery ran out, a time service was not asked yet."""

# --- The store ------------------------------------------------------------------------------------------------------

BATCH_MAX = 512
"""Writes in one transaction. Measured: 144,000 rows a second at 50 a commit, 224,000 at 500."""
COMPANY_S = 0.004
"""How long a write that nobody waits for waits for one to share a commit with. Every commit is an fsync; what is lost
with a crash in this time is said again by whoever said it."""
WAL_BYTES_MAX = 64 * MIB
"""journal_size_limit: the WAL is cut back to this after a checkpoint."""
BUSY_MS = 5_000
"""How long SQLite waits for a lock that a person's own sqlite3 shell may hold."""

CHECK_START_S = 0.3
"""How long a start of the daemon may look through the database first. Measured: 0.06 s for 10,000 messages, 0.6 s for
100,000; a larger one is looked through beside the work."""
EXPORT_BYTES = 128 * KIB
"""Text in one page of an export: some milliseconds of the daemon, so that those who send do not notice."""
EXPORT_ROWS = 200
"""Messages in one page of an export."""

# --- Doctor -------------------------------------------------------------------------------------------------------

DATABASE_CHECK_S = 1.5
"""How long `coterie doctor` looks through the database. Measured: 0.1 s for 100 MiB that the system has in memory."""
DOCTOR_CALL_S = 2.0
"""How long it waits for a daemon, which answers in milliseconds: a person waits, and silence is a finding too."""
DOCTOR_WAIT_S = 30.0
"""How long `coterie doctor --live` waits for the evidence. An idle session has it in a second."""
DOCTOR_WAIT_MAX_S = 600.0
"""The longest that it may be told to wait."""
NEW_SESSION_S = 60.0
"""A session younger than this may not have run a hook yet, and nothing is said of it."""
MAIL_OLD_S = 600.0
"""Mail that waits longer, while the session gave no sign, is trouble. A tool may run for minutes."""
DISK_FREE_MIN = 64 * MIB
"""Less room than the write-ahead log may take is trouble."""
