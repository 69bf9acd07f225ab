// Starts npm's `emulate` as GitHub; its first line says where it is and what the App's key is. Run in
// the directory that it is installed in.
import { createEmulator } from 'emulate'

const [port, seed] = process.argv.slice(-2)
const github = await createEmulator({ service: 'github', port: Number(port), seed: JSON.parse(seed) })
const key = github.generatedSecrets.find((secret) => secret.kind === 'github.app_private_key').value
console.log(JSON.stringify({ url: github.url, key }))
