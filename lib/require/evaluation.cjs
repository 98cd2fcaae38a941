'use strict';
module.exports = require('./load.cjs')(() => require('../../dist/evaluation/index.js'));
