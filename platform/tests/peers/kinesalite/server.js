// Kinesalite on the loopback interface: `node server.js PORT`. By SIGUSR2 its clock goes on by 25 hours: records that were there
// are removed by their age.
const [port] = process.argv.slice(2);
const now = Date.now;
let ahead = 0;
Date.now = () => now() + ahead;
process.on('SIGUSR2', () => {
    ahead += 25 * 3600 * 1000;
    console.log('a day later');
});
const options = { createStreamMs: 20, updateStreamMs: 20, deleteStreamMs: 20, shardLimit: 1000 };
require('kinesalite')(options).listen(Number(port), '127.0.0.1');
