import pg from 'pg'

/**
 * A client whose connection may break at any moment. A pool listens for that only while the client rests; one that
 * breaks between two statements of a transaction would end the process. Whoever uses it hears of it by the statement
 * that fails.
 */
export class LastingClient extends pg.Client {
  constructor(config?: string | pg.ClientConfig) {
    super(config)
    this.on('error', () => {})
  }
}
