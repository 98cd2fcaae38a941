'use strict';
module.exports = require('./load.cjs')(() => require('../../dist/token/operations.js'));
