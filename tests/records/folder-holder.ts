import { holdDataFolder } from '../../src/records/data-folder.ts'

/** Tries to hold a folder, says how that went, and stays. */
const [folder = '', address = ''] = process.argv.slice(2)
const outcome = await holdDataFolder(folder, { address }).then(
  () => 'held',
  (error) => error.name,
)
console.log(JSON.stringify(outcome))
process.stdin.resume()
