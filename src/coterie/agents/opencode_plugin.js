// Coterie's plugin for OpenCode: tells coterie which session runs here, brings its mail, and wakes it.
//
// `coterie init` copies this file into OpenCode's folder of plugins, with the path of coterie-hook in the place of
// HOOK's value. Measured with OpenCode 1.18.33. Nothing in here may throw into OpenCode: a plugin's error fails the
// tool call or the prompt that it looked at. Without coterie, or with its daemon down, it does nothing.
//
// The session that its user prompted last is the one that coterie reaches in this folder. Sub-agents (sessions with a
// parent) and other sessions get no mail; while one of them calls a coterie tool, coterie is told so.
import { spawn } from "node:child_process"
import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

const HOOK = "@COTERIE_HOOK@"
const HOOK_MS = 3000 // The hook takes 40 ms, and gives up on a daemon that is stuck after two seconds.
const ANSWER_CHARS_MAX = 65536 // Context is at most 8,000 characters.
const LINE_CHARS_MAX = 65536 // A nudge has a few hundred.
const PARENT_MAX = 80 // A path of 100 bytes is what every system takes for a socket.
const PROMPT_CHARS_MAX = 2000 // Its first line is what coterie looks at.
const STUCK_MS = 2000 // Whoever prompts must not wait for such a daemon again and again...
const QUIET_MS = 30000 // ...so that it is left alone for a while.
const EDITING = ["edit", "write", "patch", "multiedit", "apply_patch"]
const OURS = /^coterie_/

/** Run coterie-hook with one event; the context that it answers, or "". */
function tell(event) {
  return new Promise((done) => {
    const child = spawn(HOOK, ["opencode"], { stdio: ["pipe", "pipe", "ignore"] })
    let said = ""
    const timer = setTimeout(() => child.kill(), HOOK_MS)
    const finish = () => {
      clearTimeout(timer)
      try {
        done(said ? String(JSON.parse(said).context ?? "") : "")
      } catch {
        done("")
      }
    }
    child.on("error", finish)
    child.on("close", finish)
    child.stdin.on("error", () => {}) // It ended before it read all: `close` follows.
    child.stdout.setEncoding("utf8")
    child.stdout.on("data", (data) => (said.length < ANSWER_CHARS_MAX ? (said += data) : child.kill()))
    child.stdin.end(JSON.stringify(event) + "\n")
  })
}

const folders = new Set() // of the sockets that are open
const removeAll = () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true }))

/** Answer each line that comes through a socket with what `serve` makes of it, and of whether the asker has gone. */
async function listen(serve) {
  const parent = tmpdir().length > PARENT_MAX ? "/tmp" : tmpdir()
  const folder = mkdtempSync(join(parent, "coterie-")) // Mode 0700, and a name that nobody can guess.
  if (!folders.size) process.once("exit", removeAll)
  folders.add(folder)
  const path = join(folder, "s")
  const server = createServer((connection) => {
    let line = ""
    connection.setEncoding("utf8")
    connection.on("error", () => {})
    connection.on("data", async (data) => {
      line += data
      if (line.length > LINE_CHARS_MAX) return connection.destroy()
      if (!line.includes("\n")) return
      const answer = await serve(line.slice(0, line.indexOf("\n")), () => connection.readableEnded || connection.destroyed)
      connection.end(JSON.stringify(answer) + "\n")
    })
  })
  await new Promise((done, fail) => server.once("error", fail).listen(path, done))
  chmodSync(path, 0o600)
  server.on("error", () => {})
  server.unref()
  const close = () => {
    server.close()
    rmSync(folder, { recursive: true, force: true })
    folders.delete(folder)
  }
  return { path, close }
}

export const Coterie = async ({ client, directory }) => {
  if (HOOK.startsWith("@")) return {} // Not put here by `coterie init`.
  const oneShot = process.argv[2] === "run" // It ends with its answer: nobody is there to be woken.
  const parents = new Map() // session -> its parent's id, or ""
  const born = new Set() // sessions that began in this process
  const used = new Map() // session -> the agent and model of its last prompt
  let main = "" // the session that its user prompted last
  let opening, door // the socket, once there is a session that can be woken
  let quiet = 0 // until when coterie is left alone
  let dirty = false // whether a tool has run since the last request to the model
  let compacting = false
  let queue = Promise.resolve("") // Events go out in their order, one at a time.

  const note = (event, fields = {}, session = main) => {
    const told = { event, session, cwd: directory, pid: process.pid, endpoint: door?.path, one_shot: oneShot, ...fields }
    return (queue = queue.then(() => timed(told)).catch(() => ""))
  }

  const timed = async (told) => {
    const began = Date.now()
    if (began < quiet) return ""
    const context = await tell(told)
    if (!context && Date.now() - began > STUCK_MS) quiet = Date.now() + QUIET_MS
    return context
  }

  const parentOf = async (session) => {
    if (!parents.has(session)) {
      const found = await client.session.get({ path: { id: session } })
      parents.set(session, found.data?.parentID ?? "")
    }
    return parents.get(session)
  }

  const isBusy = async (session) => {
    const status = await client.session.status()
    return (status.data?.[session]?.type ?? "idle") !== "idle"
  }

  /** Put a prompt to a session, as the user would, and with what the user chose last: plan mode stays plan mode. */
  const wake = async (line, hasGone) => {
    const { session, text, until } = JSON.parse(line)
    if (!used.has(session)) return { error: "the session is not open here" }
    const busy = await isBusy(session)
    const body = { ...used.get(session), parts: [{ type: "text", text }] }
    // A client that stood still (Ctrl-Z) finds all that came meanwhile, when nobody waits for it any more. The end of a
    // connection is read right behind its line.
    await new Promise(setImmediate)
    if (Date.now() > until * 1000 || hasGone()) return { error: "it came too late" }
    const taken = await client.session.promptAsync({ path: { id: session }, body })
    if (taken.error) return { error: JSON.stringify(taken.error).slice(0, 200) }
    return { nudge: busy ? "steered" : "started" }
  }

  /** What runs when OpenCode calls a hook: its errors go no further. */
  const guarded = (hook) => async (input, output) => {
    try {
      await hook(input, output)
    } catch (error) {
      const body = { service: "coterie", level: "warn", message: String(error) }
      client.app.log({ body }).catch(() => {})
    }
  }

  const prompted = async ({ sessionID }, { message, parts }) => {
    if (await parentOf(sessionID)) return
    const { model, agent } = message
    used.set(sessionID, { agent, model: { providerID: model.providerID, modelID: model.modelID }, variant: model.variant })
    if (!oneShot) {
      opening ??= listen((line, hasGone) => wake(line, hasGone).catch((error) => ({ error: String(error) })))
      door = await opening.catch(() => undefined) // Then it is not woken, and gets mail all the same.
    }
    if (sessionID !== main) {
      const source = !born.has(sessionID) ? "resume" : main ? "clear" : "startup"
      main = sessionID
      note("start", { source })
    }
    const prompt = parts.find((part) => part.type === "text" && !part.synthetic)?.text
    const context = await note("prompt", { prompt: prompt?.slice(0, PROMPT_CHARS_MAX) })
    if (!context) return
    const id = "prt_" + message.id.slice(4) + "coterie" // Parts are told apart, and ordered, by their ids.
    const text = `<system-reminder>\n${context}\n</system-reminder>`
    parts.push({ id, sessionID, messageID: message.id, type: "text", text, synthetic: true })
  }

  const before = async ({ tool, sessionID, callID }) => {
    if (sessionID === main || !main || !OURS.test(tool)) return
    await note("before-tool", { agent_id: sessionID, tool_use_id: callID, delegates: true })
  }

  const after = async ({ tool, sessionID, callID, args }, output) => {
    if (sessionID !== main) {
      if (main && OURS.test(tool)) note("after-tool", { agent_id: sessionID, tool_use_id: callID, delegates: true })
      return
    }
    dirty = true
    const files = EDITING.includes(tool) && typeof args?.filePath === "string" ? [args.filePath] : []
    // The results of MCP servers are lists of parts, those of the client's own tools are texts.
    const parts = Array.isArray(output?.content)
    const closed = !parts && typeof output?.output !== "string" // Text that has no place must not count as given.
    const context = await note("after-tool", { tool_use_id: callID, files, closed })
    if (!context || closed) return
    // Of a long list of parts the client drops the end after this.
    if (parts) output.content.unshift({ type: "text", text: context })
    else output.output += `\n\n${context}`
  }

  const asking = ({}, { messages }) => {
    if (messages.at(-1)?.info.sessionID !== main || compacting || !dirty) return
    dirty = false
    note("step")
  }

  const happened = async ({ event: { type, properties } }) => {
    const session = properties?.sessionID
    if (type === "session.created") {
      parents.set(session, properties.info?.parentID ?? "")
      born.add(session)
    }
    if (!main || session !== main) return
    if (type === "session.idle") {
      compacting = false
      // A prompt that came with the last words of a turn is there before the end of that turn is told.
      if (!(await isBusy(session))) note("stop")
    } else if (type === "session.compacted") {
      compacting = false
      note("compact")
    } else if (type === "session.deleted") {
      note("end")
      main = ""
    }
  }

  return {
    event: guarded(happened),
    "chat.message": guarded(prompted),
    "tool.execute.before": guarded(before),
    "tool.execute.after": guarded(after),
    "experimental.chat.messages.transform": guarded(asking),
    "experimental.session.compacting": guarded(({ sessionID }) => (compacting ||= sessionID === main)),
    dispose: guarded(() => door?.close()),
  }
}
