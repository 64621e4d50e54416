#!/usr/bin/env node
// A warm command in Node: understudy run --warm --role scheduler -- ./warm.js
const net = require("net");
const readline = require("readline");

const socket = new net.Socket({ fd: Number(process.env.UNDERSTUDY_SOCKET) });
let worker, token;

readline.createInterface({ input: socket }).on("line", (line) => {
  const [state, first] = line.split(" ");
  if (state === "active") {
    token = first.slice("token=".length); // a string: a token may have more digits than a number
    worker = setInterval(() => console.log(`token ${token}: ${process.env.UNDERSTUDY_ID} works`), 100);
  } else if (worker) { // standby, or stop
    clearInterval(worker);
    worker = undefined;
    socket.write(`IDLE=${token}\n`);
  }
  if (state === "stop") process.exit();
});
setTimeout(() => socket.write("READY=1\n"), 100); // in place of what takes a program long to start
