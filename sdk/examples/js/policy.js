// Pools of the holder's zone first, then the one with the most free addresses. Columns in, row indexes out.
import { log, poolName } from 'tenure:policy/host@0.1.0';

const SCHEMA = {
  type: 'object',
  additionalProperties: false,
  properties: { preferZone: { description: "Pools of the holder's zone first", type: 'boolean' } },
};
const IN_ZONE = 2;
const FAMILIES = [4, 6];
const MOST = 8;

let settings = { preferZone: true };

export const lifecycle = {
  describe: () => ({
    name: 'emptiest-js',
    version: '0.1.0',
    settingsSchema: JSON.stringify(SCHEMA),
    attributeKeys: [],
  }),
  validateSettings: () => [],
  init(text) {
    settings = { ...settings, ...JSON.parse(text) };
  },
};

export const select = {
  select(request, candidates) {
    const { pool, family, free, bits } = candidates;
    const wanted = FAMILIES.filter((_, bit) => (request.families >> bit) & 1);
    const rank = (a, b) => zone(bits[b]) - zone(bits[a]) || byRoom(room(free[a]), room(free[b])) || a - b;
    const ranked = wanted.flatMap((of) => {
      const rows = [];
      for (let row = 0; row < family.length; row++) if (family[row] === of) rows.push(row);
      return rows.sort(rank).slice(0, MOST);
    });
    if (ranked.length === 0) return { tag: 'abstain' };
    log('debug', `${poolName(pool[ranked[0]])} comes first`);
    return { tag: 'ranked', val: Uint32Array.from(ranked) };
  },
};

// The runtime hands 64 bits over as signed ones.
const room = (free) => BigInt.asUintN(64, BigInt(free));
const byRoom = (a, b) => (a < b ? 1 : a > b ? -1 : 0);

function zone(bits) {
  return settings.preferZone && bits & IN_ZONE ? 1 : 0;
}
