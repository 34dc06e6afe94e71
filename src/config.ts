import { z } from 'zod'

const port = z.coerce.number().int().min(0).max(65_535)
const bytes = z.coerce.number().int().positive()
const count = z.coerce.number().int().positive()

/** Every setting of the service: one schema is type, check, default and documentation. */
export const environmentSchema = z.object({
  OUTRIGGER_DATA: z
    .string()
    .min(1)
    .default('./data')
    .describe('Folder of everything that is kept: spool, telemetry, records. One process at a time.'),
  HOST: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe('Address of the API. Anything but loopback needs OUTRIGGER_API_TOKEN.'),
  PORT: port.default(8080).describe('Port of the API; 0 takes a free one.'),
  OUTRIGGER_API_TOKEN: z
    .string()
    .min(16)
    .optional()
    .describe(
      'Bearer token of the API with the role admin. Without it the API needs no token, and limits of severity S4 cannot be changed.',
    ),
  MQTT_URL: z
    .url({ protocol: /^(mqtts?|wss?)$/ })
    .optional()
    .describe('Broker that carries the telemetry; none: the embedded one.'),
  MQTT_HOST: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe(
      'Address of the embedded broker. Anything but loopback needs credentials: issued ones, or MQTT_USERNAME.',
    ),
  MQTT_PORT: port.default(1883).describe('Port of the embedded broker; 0 takes a free one.'),
  MQTT_USERNAME: z
    .string()
    .min(1)
    .optional()
    .describe(
      'User name of clients of the embedded broker that may do what any machine may; with MQTT_URL, the one that we give there.',
    ),
  MQTT_PASSWORD: z.string().min(1).optional().describe('Password to MQTT_USERNAME.'),
  MQTT_CLIENT_ID: z
    .string()
    .min(1)
    .max(128)
    .default('outrigger')
    .describe('Client id at MQTT_URL: the session that keeps what arrives while we are away.'),
  MQTT_SHARE: z
    .string()
    .regex(/^[^/+#\0]+$/, 'a name without / + #')
    .optional()
    .describe(
      'Group at MQTT_URL whose processes share what arrives (`$share`), each with an MQTT_CLIENT_ID of its own; none: each gets everything.',
    ),
  MQTT_RECEIVE_MAXIMUM: z.coerce
    .number()
    .int()
    .min(1)
    .max(65_535)
    .default(5_000)
    .describe('Messages that MQTT_URL may send before the first of them is acknowledged; for brokers of MQTT 5.'),
  MQTT_CA: z
    .string()
    .min(1)
    .optional()
    .describe("PEM file of the authorities that MQTT_URL's certificate may come from; none: those of Node."),
  MQTT_CERT: z.string().min(1).optional().describe('PEM file of the certificate that we show to MQTT_URL.'),
  MQTT_KEY: z.string().min(1).optional().describe('PEM file of the key to MQTT_CERT, not encrypted.'),
  MQTT_TOPIC_PREFIX: z
    .string()
    .regex(/^([^+#/\0]+\/)*$/, 'empty, or levels that each end in /')
    .default('')
    .describe('Put before every topic, for example `fleet/`.'),
  MQTT_MAX_PACKET_BYTES: bytes
    .max(268_435_455)
    .default(16 * 1024 * 1024)
    .describe('Largest MQTT packet that is taken; what is larger is refused, or dropped where it comes from MQTT_URL.'),
  MQTT_MAX_CONNECTIONS: count.default(20_000).describe('Connections that the embedded broker holds at the same time.'),
  MQTT_CONNECT_TIMEOUT_SECONDS: count
    .max(3_600)
    .default(10)
    .describe('How long a client of the embedded broker may take to send its CONNECT.'),
  MQTT_MACHINE_MESSAGES_PER_SECOND: z.coerce
    .number()
    .positive()
    .optional()
    .describe('What one machine may send; what comes beyond is acknowledged later, never dropped. None: any.'),
  MQTT_MACHINE_CONNECTIONS: count
    .optional()
    .describe('Connections of one machine at the same time; beyond it its oldest one ends. None: any.'),
  MQTT_ADDRESS_CONNECTIONS: count
    .optional()
    .describe(
      'Connections from one address. None: any, since a whole fleet may come through the one address of a mobile carrier.',
    ),
  MQTT_TLS_PORT: port
    .optional()
    .describe('Port on which the embedded broker speaks TLS, beside MQTT_PORT; 0 takes a free one. None: no TLS.'),
  MQTT_TLS_HOST: z
    .string()
    .min(1)
    .optional()
    .describe('Address of MQTT_TLS_PORT; none: MQTT_HOST. Anything but loopback needs credentials of the clients.'),
  MQTT_TLS_CERT: z
    .string()
    .min(1)
    .optional()
    .describe('File (PEM) of the certificate and its chain; a renewed one is taken over within seconds.'),
  MQTT_TLS_KEY: z.string().min(1).optional().describe('File (PEM) of the key to MQTT_TLS_CERT.'),
  MQTT_TLS_CA: z
    .string()
    .min(1)
    .optional()
    .describe(
      'File (PEM) of who signs client certificates; their common name is the id of a machine. None: no client certificates.',
    ),
  MQTT_TLS_CLIENT_CERT: z
    .enum(['optional', 'required'])
    .default('optional')
    .describe('Whether a client without a certificate is turned away, where MQTT_TLS_CA is set.'),
  OUTRIGGER_CATALOGUE: z
    .string()
    .min(1)
    .optional()
    .describe('Folder of the machine catalogue; none: the one that comes with Outrigger.'),
  OUTRIGGER_SPOOL_SEGMENT_BYTES: bytes
    .min(65_536)
    .default(16 * 1024 * 1024)
    .describe('Size at which the spool begins a new file; at most a sixteenth of OUTRIGGER_SPOOL_BYTES.'),
  OUTRIGGER_SPOOL_BYTES: bytes
    .min(262_144)
    .default(4 * 1024 * 1024 * 1024)
    .describe(
      'How much the spool may hold. From 80 % on /readyz warns, at 100 % acknowledgements stop until there is room.',
    ),
  OUTRIGGER_SPOOL_HISTORY_BYTES: z.coerce
    .number()
    .int()
    .min(0)
    .default(32 * 1024 * 1024)
    .describe('How much of that may be messages that are stored already, kept for whoever looks into a machine.'),
  OUTRIGGER_QUARANTINE_BYTES: bytes
    .min(1_048_576)
    .default(1024 * 1024 * 1024)
    .describe(
      'Budget of the quarantine, 400 bytes for each entry included. When it is used up, the oldest entries of the largest sender lose their bytes.',
    ),
  OUTRIGGER_DUCKDB_MEMORY_MB: z.coerce
    .number()
    .int()
    .min(32)
    .default(96)
    .describe('Memory that DuckDB may use for buffers.'),
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/ })
    .optional()
    .describe('PostgreSQL 14 or later for the records; none: the embedded one.'),
  OUTRIGGER_RETENTION_DAYS: z.coerce
    .number()
    .int()
    .positive()
    .optional()
    .describe('Raw readings older than this are dropped, and quarantined when they arrive; none: everything is kept.'),
  OUTRIGGER_NO_DATA_HOURS: z.coerce
    .number()
    .positive()
    .default(24)
    .describe('Silence of a whole machine after which alarm EN-10 is raised.'),
  DESK: z
    .enum(['builtin', 'queue'])
    .default('builtin')
    .describe("Who takes the jobs from the queue: the built-in service desk, or somebody else's worker."),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('Least severe log line that is written.'),
})

export type Environment = z.infer<typeof environmentSchema>

/** The environment cannot be used; the message names every fault and its variable. */
export class ConfigInvalid extends Error {
  override readonly name = 'ConfigInvalid'
}

/**
 * Checks the environment once, at start.
 *
 * @throws {ConfigInvalid} with one line for each fault, not only the first
 */
export function readConfig(environment: NodeJS.ProcessEnv): Environment {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([name, value]) => value !== '' && Object.hasOwn(environmentSchema.shape, name)),
  )
  const parsed = environmentSchema.safeParse(given)
  const issues = parsed.error?.issues ?? []
  const faults = [
    ...issues.map((issue) => `${issue.path.join('.')}: ${issue.message}, got ${shown(issue.path[0], given)}`),
    ...crossFaults(given),
  ]
  if (!parsed.success || faults.length > 0)
    throw new ConfigInvalid(`the settings cannot be used:\n  ${faults.join('\n  ')}`)
  return parsed.data
}

const secrets = new Set(['OUTRIGGER_API_TOKEN', 'MQTT_PASSWORD', 'DATABASE_URL', 'MQTT_URL'])

function shown(variable: PropertyKey | undefined, given: Record<string, unknown>): string {
  return secrets.has(String(variable)) ? '(not shown)' : `'${given[String(variable)]}'`
}

/** What settings ask of each other; looks at them as given, so that a wrong one beside them hides none of it. */
function crossFaults(given: NodeJS.ProcessEnv): string[] {
  const { HOST, MQTT_USERNAME, MQTT_PASSWORD } = given
  const faults: string[] = []
  if (HOST && !isLoopback(HOST) && !given.OUTRIGGER_API_TOKEN)
    faults.push(`OUTRIGGER_API_TOKEN: needed, because HOST is ${HOST} and not loopback`)
  if (Boolean(MQTT_USERNAME) !== Boolean(MQTT_PASSWORD))
    faults.push('MQTT_USERNAME, MQTT_PASSWORD: one is of no use without the other')
  return [...faults, ...externalBrokerFaults(given), ...tlsFaults(given)]
}

function externalBrokerFaults(given: NodeJS.ProcessEnv): string[] {
  const { MQTT_URL, MQTT_SHARE, MQTT_CLIENT_ID, MQTT_CERT, MQTT_KEY } = given
  const faults: string[] = []
  const files = (['MQTT_CA', 'MQTT_CERT', 'MQTT_KEY'] as const).filter((name) => given[name])
  if (files.length > 0 && !/^(mqtts|wss):/.test(MQTT_URL ?? ''))
    faults.push(`${files.join(', ')}: of use only with an MQTT_URL that begins with mqtts:// or wss://`)
  if (Boolean(MQTT_CERT) !== Boolean(MQTT_KEY)) faults.push('MQTT_CERT, MQTT_KEY: one is of no use without the other')
  if (MQTT_SHARE && !MQTT_URL) faults.push('MQTT_SHARE: of use only with MQTT_URL')
  if (MQTT_SHARE && !MQTT_CLIENT_ID)
    faults.push('MQTT_CLIENT_ID: needed with MQTT_SHARE, and another one for each process of the group')
  return faults
}

function tlsFaults(given: NodeJS.ProcessEnv): string[] {
  const { MQTT_TLS_PORT, MQTT_TLS_HOST, MQTT_TLS_CERT, MQTT_TLS_KEY, MQTT_TLS_CA, MQTT_TLS_CLIENT_CERT } = given
  const faults: string[] = []
  if (MQTT_TLS_PORT && !(MQTT_TLS_CERT && MQTT_TLS_KEY))
    faults.push('MQTT_TLS_CERT, MQTT_TLS_KEY: needed, because MQTT_TLS_PORT is set')
  if (!MQTT_TLS_PORT && (MQTT_TLS_HOST || MQTT_TLS_CERT || MQTT_TLS_KEY || MQTT_TLS_CA))
    faults.push('MQTT_TLS_PORT: needed, because the other settings of TLS are of no use without it')
  if (MQTT_TLS_CLIENT_CERT === 'required' && !MQTT_TLS_CA)
    faults.push('MQTT_TLS_CA: needed, because MQTT_TLS_CLIENT_CERT is required and somebody has to have signed them')
  return faults
}

/** Whether only this machine can reach an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

/** All settings with meaning and default, for `--help`. */
export function settingsHelp(): string {
  return settings()
    .map(
      ({ name, meaning, fallback }) =>
        `  ${name}\n      ${meaning}${fallback === undefined ? '' : `\n      Default: ${fallback === '' ? '(empty)' : fallback}`}`,
    )
    .join('\n')
}

/** All settings as a table in Markdown, for the reference in `docs/`. */
export function settingsTable(): string {
  const rows = settings().map(
    ({ name, meaning, fallback }) =>
      `| \`${name}\` | ${meaning.replaceAll('|', '\\|')} | ${fallback === undefined ? '–' : fallback === '' ? '(empty)' : `\`${fallback}\``} |`,
  )
  return ['| Setting | Meaning | Default |', '|---|---|---|', ...rows].join('\n')
}

function settings(): { name: string; meaning: string; fallback: string | undefined }[] {
  return Object.entries(environmentSchema.shape).map(([name, schema]) => {
    const fallback: unknown = schema.safeParse(undefined).data
    return { name, meaning: schema.description ?? '', fallback: fallback === undefined ? undefined : String(fallback) }
  })
}
