/** The spool takes nothing at the moment. Who can be told to come again is told, so that nothing of it waits in memory. */
export class SpoolHolds extends Error {
  override readonly name = 'SpoolHolds'
  constructor() {
    super('the spool takes nothing at the moment: try again in a few seconds')
  }
}
