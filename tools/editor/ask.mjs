// Asks the YAML language server what an editor would: what is wrong with files, and what may stand at places in them.
//
//   node ask.mjs FOLDER < questions.json
//
// FOLDER is where npm installed package.json. A question is {"file": "/a/spec.yaml", "at": [[line, column], …]}, both
// counted from 0. The answers come as JSON in the order of the questions:
// {"faults": [{"line", "message"}], "proposed": [["label", …], …], "hovers": ["text", …]}.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const questions = JSON.parse(readFileSync(0, 'utf8'))
const server = spawn(process.execPath, [join(process.argv[2], 'node_modules/yaml-language-server/bin/yaml-language-server'), '--stdio'],
  { stdio: ['pipe', 'pipe', 'inherit'] })
server.on('exit', code => { console.error(`the language server ended with ${code}`); process.exit(1) })

const waiting = new Map() // by id of a request, or by the file whose faults are awaited
let last = 0, input = Buffer.alloc(0)

function send (message) {
  const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }))
  server.stdin.write(`Content-Length: ${body.length}\r\n\r\n`)
  server.stdin.write(body)
}
const wait = key => new Promise(resolve => waiting.set(key, resolve))
function request (method, params) {
  const id = ++last
  const answer = wait(id)
  send({ id, method, params })
  return answer
}

// The server asks for its settings. What a spec needs is that schemas are read, and nothing from the net.
const settings = { yaml: { validate: true, completion: true, hover: true, schemaStore: { enable: false } }, http: {}, '[yaml]': {}, editor: {}, files: {} }

function receive (message) {
  if (message.method === 'workspace/configuration') {
    send({ id: message.id, result: message.params.items.map(i => settings[i.section] ?? null) })
  } else if (message.method === 'textDocument/publishDiagnostics') {
    waiting.get(message.params.uri)?.(message.params.diagnostics)
  } else if (message.method !== undefined && message.id !== undefined) {
    send({ id: message.id, result: null })
  } else if (message.id !== undefined) {
    if (message.error) throw new Error(JSON.stringify(message.error))
    waiting.get(message.id)?.(message.result)
  }
}

server.stdout.on('data', chunk => {
  input = Buffer.concat([input, chunk])
  for (;;) {
    const end = input.indexOf('\r\n\r\n')
    if (end < 0) return
    const length = Number(/Content-Length: (\d+)/i.exec(input.subarray(0, end).toString())[1])
    if (input.length < end + 4 + length) return
    receive(JSON.parse(input.subarray(end + 4, end + 4 + length).toString()))
    input = input.subarray(end + 4 + length)
  }
})

await request('initialize', { processId: process.pid, rootUri: null, capabilities: { workspace: { configuration: true }, textDocument: { publishDiagnostics: {}, completion: { completionItem: { snippetSupport: true } } } } })
send({ method: 'initialized', params: {} })
send({ method: 'workspace/didChangeConfiguration', params: { settings } })

const answers = []
for (const { file, at } of questions) {
  const uri = pathToFileURL(file).href
  const faults = wait(uri)
  send({ method: 'textDocument/didOpen', params: { textDocument: { uri, languageId: 'yaml', version: 1, text: readFileSync(file, 'utf8') } } })
  const answer = { faults: (await faults).map(d => ({ line: d.range.start.line, message: d.message })), proposed: [], hovers: [] }
  for (const [line, character] of at ?? []) {
    const place = { textDocument: { uri }, position: { line, character } }
    const found = await request('textDocument/completion', place)
    answer.proposed.push((found?.items ?? found ?? []).map(i => i.label))
    const hover = await request('textDocument/hover', place)
    answer.hovers.push(hover?.contents?.value ?? '')
  }
  answers.push(answer)
}
console.log(JSON.stringify(answers))
server.removeAllListeners('exit')
server.kill()
process.exit(0)
