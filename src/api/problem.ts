import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { hasZodFastifySchemaValidationErrors, isResponseSerializationError } from '@fastify/type-provider-zod'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'

/** RFC 9457 problem details. */
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string().optional(),
  instance: z.string().optional(),
  errors: z.array(z.object({ detail: z.string(), pointer: z.string() })).optional(),
})
export type Problem = z.infer<typeof problemSchema>

/** An answer that is not the wanted one; routes throw it, one place turns it into a response. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem'
  readonly status: number
  readonly errors: Problem['errors']

  constructor(status: number, detail: string, errors?: Problem['errors']) {
    super(detail)
    this.status = status
    this.errors = errors
  }
}

export function notFound(what: string, id: string): ApiProblem {
  return new ApiProblem(404, `there is no ${what} '${id}'`)
}

/** Statuses of the errors that stages throw, by their name: what a caller did, never what broke here. */
const statusOfError: Readonly<Record<string, number>> = {
  AlarmUnknown: 404,
  BulkUnknown: 404,
  CredentialUnknown: 404,
  JobUnknown: 404,
  MachineUnknown: 404,
  NoSuchDoubt: 404,
  OverrideUnknown: 404,
  QuarantineUnknown: 404,
  TicketUnknown: 404,
  ClockPolicyRefused: 400,
  CorrectionInvalid: 400,
  CredentialRefused: 400,
  FleetTableUnreadable: 400,
  InspectionCursorInvalid: 400,
  MachineRefused: 400,
  OverrideRefused: 400,
  TicketReasonMissing: 400,
  OverrideForbidden: 403,
  BulkEnded: 409,
  CredentialExists: 409,
  DoubtDecided: 409,
  JobNotProposed: 409,
  MachineExists: 409,
  NothingToAcknowledge: 409,
  QuarantineBytesGone: 409,
  QuarantineDecided: 409,
  TicketTransitionRefused: 409,
  SpoolHolds: 503,
}

/** Turns whatever a route threw into problem details; nothing internal leaves the house with a 500. */
export function answerProblem(error: FastifyError | ApiProblem, request: FastifyRequest, reply: FastifyReply): void {
  const problem = problemOf(error, request)
  const facts = { err: error, method: request.method, url: request.url }
  if (request.raw.complete === false) request.log.debug(facts, 'request ended by its sender')
  else if (problem.status === 503) request.log.warn(facts, 'request failed for the time being')
  else if (problem.status >= 500) request.log.error(facts, 'request failed')
  void reply.code(problem.status).type('application/problem+json').send(JSON.stringify(problem))
}

/** Answers what is no HTTP request, before there is a request to answer. */
export function answerNoRequest({ code }: NodeJS.ErrnoException, socket: Socket): void {
  if (code === 'ECONNRESET' || socket.destroyed) return
  const status = statusOfParser[code ?? ''] ?? 400
  const { title, ...rest } = aboutStatus(status)
  const body = JSON.stringify({ ...rest, title, detail: 'this is no HTTP request that can be read' })
  if (socket.writable) {
    const headers = `content-type: application/problem+json\r\ncontent-length: ${body.length}\r\nconnection: close`
    socket.write(`HTTP/1.1 ${status} ${title}\r\n${headers}\r\n\r\n${body}`)
  }
  socket.destroySoon()
}

const statusOfParser: Readonly<Record<string, number>> = { ERR_HTTP_REQUEST_TIMEOUT: 408, HPE_HEADER_OVERFLOW: 431 }

function problemOf(error: FastifyError | ApiProblem, request: FastifyRequest): Problem {
  const instance = request.url
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.map(({ instancePath, message }) => ({
      detail: message ?? 'not valid',
      pointer: instancePath === '/' ? '#' : `#${instancePath}`, // the whole, not a member of no name
    }))
    return { ...aboutStatus(400), detail: `the ${error.validationContext ?? 'request'} does not fit`, instance, errors }
  }
  if (isResponseSerializationError(error)) return { ...aboutStatus(500), instance }
  if ('code' in error && error.code === 'FST_ERR_MAX_PARAM_LENGTH')
    return { ...aboutStatus(404), detail: 'nothing has an id that is so long', instance }
  if (isRecordsAway(error))
    return { ...aboutStatus(503), detail: 'the records cannot be reached, try again later', instance }
  const status = error instanceof ApiProblem ? error.status : (statusOfError[error.name] ?? error.statusCode ?? 500)
  const isTold = error instanceof ApiProblem || error.name in statusOfError
  if (status >= 500 && !isTold) return { ...aboutStatus(status), instance }
  const errors = error instanceof ApiProblem ? error.errors : undefined
  return { ...aboutStatus(status), detail: error.message, instance, ...(errors && { errors }) }
}

/** Errors of a connection to PostgreSQL: of the socket, or the classes 08 and 57P of its own codes. */
function isRecordsAway(error: Error): boolean {
  if (error.message.startsWith('Connection terminated')) return true
  const code = 'code' in error ? String(error.code) : ''
  return /^(ECONNREFUSED|ECONNRESET|EPIPE|ENOENT|08...|57P0.)$/.test(code) && !(error instanceof ApiProblem)
}

function aboutStatus(status: number): Problem {
  return { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status }
}
